#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "train/config/rl_settings.h"

namespace glmimage::train::rl {

struct AdvantageRule {
  AdvantageNorm norm = AdvantageNorm::rollout_std;
  int64_t group = 8;  // pictures of a prompt, one behind the other
  double limit = 5;   // clamped to ± this
};

// What a roll-out's rewards are like.
struct RewardSpread {
  double std = 0;         // of all rewards
  double group_std = 0;   // mean of the groups' own
  double zero_share = 0;  // of the groups: all pictures got the same reward, and nothing is learned from them
};

struct Advantages {
  std::vector<double> values;  // one for each picture
  RewardSpread spread;
};

// Rewards less their group's mean, over
//   group_std     the group's standard deviation + 1e-8 (GRPO, Shao et al. 2024)
//   rollout_std   that of all rewards + 1e-8, so that groups which agree weigh less (Flow-GRPO and DiffusionNFT)
//   group_mean    nothing (Dr. GRPO, Liu et al. 2025)
// Standard deviations over the count less one for a group's, over the count for a roll-out's. A group whose rewards are
// all equal has advantages of 0 whatever the roundings. `rewards` are whole groups.
Advantages make_advantages(const std::vector<double>& rewards, const AdvantageRule& rule);

// max(-A·ρ, -A·clip(ρ, 1 ± clip)) element by element, and the share of ρ outside of the clip (PPO, Schulman et al.
// 2017).
struct Clipped {
  at::Tensor loss;   // like ratio, with its gradient
  double share = 0;  // of the elements in which the clip cuts the gradient off
};
Clipped clipped_objective(const at::Tensor& ratio, const at::Tensor& advantages, double clip);

// Which of the updates that learn from one roll-out.
enum class Update { first_of_rollout, later };

// Throws ErrorKind::internal unless every ratio is exactly 1: nothing was updated since the roll-out, so another value
// means that the two probabilities are not of the same thing.
void expect_on_policy(const at::Tensor& ratio);

}  // namespace glmimage::train::rl
