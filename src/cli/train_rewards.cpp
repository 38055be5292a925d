#include "cli/train_rewards.h"

#include <algorithm>
#include <utility>

#include "cli/prompt_file.h"
#include "core/error.h"
#include "core/listing.h"
#include "eval/rewards.h"
#include "eval/scenes.h"
#include "train/rl/feature_reward.h"
#include "train/rl/process_reward.h"
#include "train/stages/starting_point.h"

namespace glmimage::cli {
namespace {

namespace rl = train::rl;
namespace world = train::world;

std::unique_ptr<rl::Prompts> prompts_of(const train::TrainConfig& config, const world::World& world) {
  const std::string& name = config.rl.prompts;
  if (name == "world") return rl::world_prompts(world, config.seed, config.rl.shortest_word);
  if (name.ends_with(".jsonl"))
    return rl::listed_prompts(eval::prompts_of(eval::read_scenes(world, name)), config.seed);
  std::vector<rl::Prompt> prompts;
  for (const std::string& line : read_prompt_file(name)) prompts.push_back({.text = line, .scene = {}});
  return rl::listed_prompts(std::move(prompts), config.seed);
}

std::unique_ptr<rl::Reward> reward_named(const std::string& name, const train::StageOptions& options,
                                         const world::World& world) {
  const train::RlSettings& settings = options.config.rl;
  if (name == "process") {
    return rl::process_reward(
        {.command = settings.process, .seconds = settings.process_seconds, .batch = settings.process_batch});
  }
  if (name == "features") return rl::feature_reward(options, world);
  const std::vector<std::string>& names = eval::world_rewards();
  if (std::find(names.begin(), names.end(), name) == names.end()) {
    fail(ErrorKind::usage, "there is no reward '", name, "'; there are ", listed(names, names.size()),
         ", features, process");
  }
  return eval::world_reward(name, world);
}

}  // namespace

train::rl::RlParts rl_parts(const train::StageOptions& options) {
  const train::TrainConfig& config = options.config;
  if (options.init.empty()) fail(ErrorKind::usage, "stage ", config.stage, " improves a checkpoint: --init DIR");
  const world::World world = world::World::open({.size = train::starting_preset(options).picture_size,
                                                 .languages = config.data_config.languages,
                                                 .words = config.data_config.words});
  std::vector<rl::WeightedReward> rewards;
  for (const auto& [name, weight] : rl::parse_rewards(config.rl.reward)) {
    rewards.push_back({name, weight, reward_named(name, options, world)});
  }
  return {.prompts = prompts_of(config, world), .rewards = std::make_unique<rl::RewardSum>(std::move(rewards))};
}

}  // namespace glmimage::cli
