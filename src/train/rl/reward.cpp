#include "train/rl/reward.h"

#include <cmath>
#include <cstdlib>
#include <sstream>

#include "core/error.h"

namespace glmimage::train::rl {

RewardSum::RewardSum(std::vector<WeightedReward> rewards) : rewards_(std::move(rewards)) {
  if (rewards_.empty()) fail(ErrorKind::usage, "no reward is named: --reward ocr=1");
}

RewardSum::Result RewardSum::score(std::span<const Judged> pictures) {
  Result result;
  std::vector<double> sums(pictures.size()), weights(pictures.size());
  for (const WeightedReward& each : rewards_) {
    result.by_reward.push_back(each.reward->score(pictures));
    const std::vector<Score>& scores = result.by_reward.back();
    if (scores.size() != pictures.size()) {
      fail(ErrorKind::internal, "reward ", each.name, ": ", scores.size(), " scores for ", pictures.size(),
           " pictures");
    }
    for (size_t i = 0; i < scores.size(); ++i) {
      if (!scores[i]) continue;
      if (!(*scores[i] >= 0 && *scores[i] <= 1)) {
        fail(ErrorKind::internal, "reward ", each.name, ": ", *scores[i], ", expected a score from 0 to 1");
      }
      sums[i] += each.weight * *scores[i];
      weights[i] += each.weight;
    }
  }
  double sum = 0, count = 0;
  for (size_t i = 0; i < sums.size(); ++i) {
    result.judged.push_back(weights[i] > 0);
    result.total.push_back(weights[i] > 0 ? sums[i] / weights[i] : 0);
    if (result.judged.back()) sum += result.total.back(), ++count;
  }
  for (size_t i = 0; i < sums.size(); ++i) {
    if (!result.judged[i] && count > 0) result.total[i] = sum / count;
  }
  return result;
}

nlohmann::json RewardSum::Result::means(const RewardSum& of) const {
  nlohmann::json out = nlohmann::json::object();
  double sum = 0;
  for (const double value : total) sum += value;
  if (!total.empty()) out["reward"] = sum / static_cast<double>(total.size());
  for (size_t i = 0; i < by_reward.size(); ++i) {
    double part = 0, count = 0;
    for (const Score& score : by_reward[i]) {
      if (score) part += *score, ++count;
    }
    if (count > 0) out["reward_" + of.rewards()[i].name] = part / count;
  }
  return out;
}

std::vector<std::pair<std::string, double>> parse_rewards(const std::string& text) {
  std::vector<std::pair<std::string, double>> out;
  std::istringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) {
    const size_t equals = part.find('=');
    const std::string name = part.substr(0, equals),
                      weight = equals == std::string::npos ? "1" : part.substr(equals + 1);
    char* end = nullptr;
    const double value = std::strtod(weight.c_str(), &end);
    if (name.empty() || weight.empty() || *end != '\0' || !(value > 0) || !std::isfinite(value)) {
      fail(ErrorKind::usage, "rewards '", text, "': expected NAME=WEIGHT with a weight above 0, like ocr=1,object=0.5");
    }
    for (const auto& [other, other_weight] : out) {
      if (other == name) fail(ErrorKind::usage, "rewards '", text, "': '", name, "' is named twice");
    }
    out.emplace_back(name, value);
  }
  if (out.empty()) fail(ErrorKind::usage, "no reward is named: expected NAME=WEIGHT, like ocr=1,object=0.5");
  return out;
}

}  // namespace glmimage::train::rl
