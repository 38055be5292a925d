#pragma once

#include <cstdint>
#include <string>

#include "train/config/fields.h"

namespace glmimage::train {

// How the rewards of a roll-out become advantages (rl/advantages.h).
enum class AdvantageNorm { group_std, rollout_std, group_mean };
// Which denoising steps of a roll-out are drawn by chance and learned from (rl/sde.h).
enum class SdeWindow { all, fixed, sliding, random };
// Where the visual ids come from that the transformer paints.
enum class VisualIds { language_model, truth };
// How the errors of the two mixtures of DiffusionNFT are weighted over noise levels (rl/nft_loss.h).
enum class NftWeighting { adaptive, none };

template <>
struct EnumNames<AdvantageNorm> {
  static const std::vector<std::pair<const char*, AdvantageNorm>> names;
};
template <>
struct EnumNames<SdeWindow> {
  static const std::vector<std::pair<const char*, SdeWindow>> names;
};
template <>
struct EnumNames<VisualIds> {
  static const std::vector<std::pair<const char*, VisualIds>> names;
};
template <>
struct EnumNames<NftWeighting> {
  static const std::vector<std::pair<const char*, NftWeighting>> names;
};

// What all stages of reinforcement learning read. A roll-out has batch x accumulate x updates pictures, `group` of each
// prompt.
struct RlSettings {
  std::string reward = "ocr=1";   // names and weights (rl/reward.h)
  std::string prompts = "world";  // or a list of scenes (.jsonl), or a file of prompts, one a line
  int64_t shortest_word = 1;      // of the world's prompts: shorter words are passed over
  int64_t group = 8;              // pictures of one prompt, whose rewards are compared
  int64_t probes = 1;             // prompts tried with a picture each for one that is kept: the hardest
  int64_t updates = 1;            // from one roll-out
  int64_t draw_steps = 10;        // of a roll-out's picture
  double guidance_scale = 1.5;    // of a roll-out
  VisualIds visual_ids = VisualIds::language_model;
  AdvantageNorm advantages = AdvantageNorm::rollout_std;
  double advantage_limit = 5;  // advantages are clamped to ± this
  double kl = 0;               // weight of the distance to the weights of --init
  double anchor = 0;           // weight of the stage's usual loss on pictures of --data; stages nft and flow-grpo
  int64_t held_out_prompts = 32;
  std::string process;          // command of the reward `process` (rl/process_reward.h)
  double process_seconds = 60;  // that it may take over one batch
  int64_t process_batch = 64;   // pictures of one line
};

// DiffusionNFT (Zheng et al. 2025, arXiv 2509.16117).
struct NftSettings {
  double strength = 1;  // β of the paper: how far the mixtures lie from the sampling policy
  int64_t times = 2;    // noise levels at which each picture is learned from
  NftWeighting weighting = NftWeighting::adaptive;
  double old_rise = 0.001;  // the sampling policy keeps min(old_rise · roll-out, old_most) of itself at each roll-out
  double old_most = 0.5;
};

// Flow-GRPO (Liu et al. 2025, arXiv 2505.05470), and MixGRPO's windows (Li et al. 2025, arXiv 2507.21802).
struct FlowGrpoSettings {
  double noise = 0.7;  // a of the paper: how much of the noise is put back in a step
  double clip = 1e-4;  // ratios are clipped to 1 ± this
  SdeWindow window = SdeWindow::sliding;
  int64_t window_steps = 2;   // drawn by chance
  int64_t window_every = 25;  // roll-outs after which a sliding window moves
  int64_t window_stride = 1;  // steps it moves by
};

// GRPO of the language model (Shao et al. 2024, arXiv 2402.03300).
struct GrpoArSettings {
  double clip = 0.2;
  double temperature = 1, top_p = 1;  // of roll-outs. 1 and 1: drawn from what the loss sees
};

struct TrainConfig;
// rl.*, nft.*, flow_grpo.* and grpo_ar.*
void add_rl_fields(FieldList& list, TrainConfig& config);
// Whether stage trains by rewards: nft, flow-grpo, grpo-ar.
bool is_rl_stage(const std::string& stage);
// Throws ErrorKind::usage for settings that contradict each other.
void check_rl(const TrainConfig& config);

}  // namespace glmimage::train
