#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/image.h"
#include "train/rl/prompts.h"

namespace glmimage::train::rl {

// A picture that was drawn, and what for.
struct Judged {
  const Prompt& prompt;
  Image image;
};

// Nothing where a prompt holds nothing that the reward could judge: no word for `ocr`.
using Score = std::optional<double>;

// Tells how good pictures are.
class Reward {
 public:
  virtual ~Reward() = default;
  // One score from 0 to 1 for each picture, in order. Throws ErrorKind::io when what it asks fails.
  virtual std::vector<Score> score(std::span<const Judged> pictures) = 0;
};

struct WeightedReward {
  std::string name;
  double weight = 1;
  std::unique_ptr<Reward> reward;
};

// Several rewards as one: their mean by weight over those that judge the picture. Where none does, the mean of the
// other pictures: all of a prompt's are alike then, and nothing is learned from them.
class RewardSum {
 public:
  // Throws ErrorKind::usage for an empty list.
  explicit RewardSum(std::vector<WeightedReward> rewards);

  struct Result {
    std::vector<double> total;                        // one for each picture
    std::vector<char> judged;                         // of each picture: whether any reward judges it
    std::vector<std::vector<Score>> by_reward;        // for each reward one for each picture
    nlohmann::json means(const RewardSum& of) const;  // {"reward": …, "reward_ocr": …}
  };
  // Throws ErrorKind::internal for a reward that gave another number of scores, or one outside of 0..1.
  Result score(std::span<const Judged> pictures);
  const std::vector<WeightedReward>& rewards() const { return rewards_; }

 private:
  std::vector<WeightedReward> rewards_;
};

// "ocr=1,object=0.5" -> names and weights; "ocr" is "ocr=1". Throws ErrorKind::usage for an empty name, a name given
// twice, and a weight that is no positive number.
std::vector<std::pair<std::string, double>> parse_rewards(const std::string& text);

}  // namespace glmimage::train::rl
