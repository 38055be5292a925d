#include "train/rl/process_reward.h"

#include <openssl/evp.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "core/encode_image.h"
#include "core/error.h"
#include "train/rl/line_process.h"

namespace glmimage::train::rl {
namespace {

using nlohmann::json;

constexpr size_t kAnswerBytes = 4096, kScoreBytes = 64;  // of an answer, and for each of its scores

std::string base64(const std::vector<uint8_t>& bytes) {
  std::string out(4 * ((bytes.size() + 2) / 3), '\0');
  std::string with_end(out.size() + 1, '\0');  // EVP_EncodeBlock writes a zero behind
  ::EVP_EncodeBlock(reinterpret_cast<unsigned char*>(with_end.data()), bytes.data(), static_cast<int>(bytes.size()));
  return with_end.substr(0, out.size());
}

class ProcessReward : public Reward {
 public:
  explicit ProcessReward(const ProcessRewardOptions& options) : options_(options) {}

  std::vector<Score> score(std::span<const Judged> pictures) override {
    std::vector<Score> out;
    const auto batch = static_cast<size_t>(options_.batch);
    for (size_t first = 0; first < pictures.size(); first += batch) {
      const auto some = score_batch(pictures.subspan(first, std::min(batch, pictures.size() - first)));
      out.insert(out.end(), some.begin(), some.end());
    }
    return out;
  }

 private:
  std::vector<Score> score_batch(std::span<const Judged> pictures) {
    if (!process_) process_.emplace(options_.command);
    json question = {{"batch", ++number_}, {"pictures", json::array()}};
    for (const Judged& each : pictures) {
      question["pictures"].push_back({{"prompt", each.prompt.text}, {"png", base64(encode_image(each.image))}});
    }
    const std::string answer = process_->ask(question.dump(-1, ' ', false, json::error_handler_t::replace),
                                             kAnswerBytes + kScoreBytes * pictures.size(), options_.seconds);
    return scores_of(json::parse(answer, nullptr, false), pictures.size());
  }

  std::vector<Score> scores_of(const json& answer, size_t count) const {
    const auto refuse = [&](const std::string& what) {
      fail(ErrorKind::io, "the reward process '", options_.command, "' answered batch ", number_, " with ", what);
    };
    if (!answer.is_object()) refuse("a line that is no JSON object");
    if (answer.value("batch", json()) != number_) refuse("the number of another batch");
    const json scores = answer.value("scores", json());
    if (!scores.is_array() || scores.size() != count) refuse(concat("no list of ", count, " scores"));
    std::vector<Score> out;
    for (const json& score : scores) {
      const bool fits = score.is_number() && score.get<double>() >= 0 && score.get<double>() <= 1;
      if (!fits && !score.is_null()) refuse(concat("a score of ", score.dump(), ", which is not from 0 to 1"));
      out.push_back(fits ? Score(score.get<double>()) : Score());
    }
    return out;
  }

  ProcessRewardOptions options_;
  std::optional<LineProcess> process_;
  int64_t number_ = 0;
};

}  // namespace

std::unique_ptr<Reward> process_reward(const ProcessRewardOptions& options) {
  if (options.command.empty()) {
    fail(ErrorKind::usage, "the reward 'process' needs a command: --set rl.process='python3 reward.py'");
  }
  return std::make_unique<ProcessReward>(options);
}

}  // namespace glmimage::train::rl
