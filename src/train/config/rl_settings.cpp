#include "train/config/rl_settings.h"

#include <limits>

#include "train/config/train_config.h"

namespace glmimage::train {
namespace {

constexpr int64_t kMany = std::numeric_limits<int32_t>::max();
constexpr double kLarge = 1e6;

void add_nft_fields(FieldList& list, NftSettings& c) {
  list.add("nft.strength", c.strength, "how far the two mixtures lie from the sampling policy (beta)", 0.01, 100);
  list.add("nft.times", c.times, "noise levels at which each picture is learned from", 1, 1000);
  list.add_choice("nft.weighting", c.weighting, "of noise levels: adaptive or none");
  list.add("nft.old_rise", c.old_rise, "what the sampling policy keeps of itself rises by this a roll-out", 0, 1);
  list.add("nft.old_most", c.old_most, "to at most this", 0, 1);
}

void add_grpo_fields(FieldList& list, FlowGrpoSettings& flow, GrpoArSettings& ar) {
  list.add("flow_grpo.noise", flow.noise, "noise put back in a step of the window", 0.01, 10);
  list.add("flow_grpo.clip", flow.clip, "ratios are clipped to 1 plus or minus this", 0, 1);
  list.add_choice("flow_grpo.window", flow.window, "steps drawn by chance: all, fixed, sliding or random");
  list.add("flow_grpo.window_steps", flow.window_steps, "of a window", 1, 1000);
  list.add("flow_grpo.window_every", flow.window_every, "roll-outs after which a sliding window moves", 1, kMany);
  list.add("flow_grpo.window_stride", flow.window_stride, "steps it moves by", 1, 1000);
  list.add("grpo_ar.clip", ar.clip, "ratios are clipped to 1 plus or minus this", 0, 1);
  list.add("grpo_ar.temperature", ar.temperature, "of roll-outs", 0.01, 100);
  list.add("grpo_ar.top_p", ar.top_p, "of roll-outs", 0.01, 1);
}

}  // namespace

const std::vector<std::pair<const char*, AdvantageNorm>> EnumNames<AdvantageNorm>::names = {
    {"group_std", AdvantageNorm::group_std},
    {"rollout_std", AdvantageNorm::rollout_std},
    {"group_mean", AdvantageNorm::group_mean}};
const std::vector<std::pair<const char*, SdeWindow>> EnumNames<SdeWindow>::names = {{"all", SdeWindow::all},
                                                                                    {"fixed", SdeWindow::fixed},
                                                                                    {"sliding", SdeWindow::sliding},
                                                                                    {"random", SdeWindow::random}};
const std::vector<std::pair<const char*, VisualIds>> EnumNames<VisualIds>::names = {
    {"language_model", VisualIds::language_model}, {"truth", VisualIds::truth}};
const std::vector<std::pair<const char*, NftWeighting>> EnumNames<NftWeighting>::names = {
    {"adaptive", NftWeighting::adaptive}, {"none", NftWeighting::none}};

void add_rl_fields(FieldList& list, TrainConfig& config) {
  RlSettings& c = config.rl;
  list.add("rl.reward", c.reward, "names and weights: ocr=1,object=0.5");
  list.add("rl.prompts", c.prompts, "world, a list of scenes (.jsonl), or a file of prompts, one a line");
  list.add("rl.shortest_word", c.shortest_word, "letters of the world's words; shorter ones are passed over", 1, 8);
  list.add("rl.group", c.group, "pictures of one prompt, whose rewards are compared", 2, 4096);
  list.add("rl.probes", c.probes, "prompts tried with a picture each for one that is kept: the hardest", 1, 1000);
  list.add("rl.updates", c.updates, "from one roll-out", 1, 1000);
  list.add("rl.draw_steps", c.draw_steps, "denoising steps of a roll-out", 1, 1000);
  list.add("rl.guidance_scale", c.guidance_scale, "of a roll-out; 1 or less: none", 0, 100);
  list.add_choice("rl.visual_ids", c.visual_ids, "that are painted: language_model or truth");
  list.add_choice("rl.advantages", c.advantages,
                  "rewards less their group's mean, over: group_std, rollout_std, "
                  "or nothing (group_mean)");
  list.add("rl.advantage_limit", c.advantage_limit, "advantages are clamped to this", 0.01, kLarge);
  list.add("rl.kl", c.kl, "weight of the distance to the weights of --init", 0, kLarge);
  list.add("rl.anchor", c.anchor, "weight of the flow loss on pictures of --data", 0, kLarge);
  list.add("rl.held_out_prompts", c.held_out_prompts, "prompts whose rewards are the held-out measure", 1, 100000);
  list.add("rl.process", c.process, "command of the reward 'process', for the shell");
  list.add("rl.process_seconds", c.process_seconds, "that it may take over one line", 0.01, kLarge);
  list.add("rl.process_batch", c.process_batch, "pictures of one line", 1, 100000);
  add_nft_fields(list, config.nft);
  add_grpo_fields(list, config.flow_grpo, config.grpo_ar);
}

bool is_rl_stage(const std::string& stage) { return stage == "nft" || stage == "flow-grpo" || stage == "grpo-ar"; }

void check_rl(const TrainConfig& config) {
  const RlSettings& rl = config.rl;
  const int64_t update = config.batch * config.accumulate, pictures = update * rl.updates;
  if (pictures % rl.group != 0) {
    fail(ErrorKind::usage, "a roll-out has batch x accumulate x rl.updates = ", pictures,
         " pictures, which are no whole groups of ", rl.group, " (rl.group)");
  }
  if (config.steps % rl.updates != 0 || config.save_every % rl.updates != 0 ||
      config.held_out_every % rl.updates != 0) {
    fail(ErrorKind::usage, "steps, save_every and held_out_every should be multiples of rl.updates, ", rl.updates,
         ": a run is saved and measured between roll-outs");
  }
  if (config.sample_every > 0) {
    fail(ErrorKind::usage, "sample_every: stage ", config.stage, " draws no sample pictures");
  }
  const FlowGrpoSettings& flow = config.flow_grpo;
  if (config.stage == "flow-grpo" && flow.window != SdeWindow::all && flow.window_steps > rl.draw_steps) {
    fail(ErrorKind::usage, "flow_grpo.window_steps is ", flow.window_steps, " of ", rl.draw_steps,
         " steps (rl.draw_steps)");
  }
  if (config.stage == "grpo-ar" && rl.anchor > 0) {
    fail(ErrorKind::usage, "rl.anchor is the flow loss, and stage grpo-ar trains the language model");
  }
}

}  // namespace glmimage::train
