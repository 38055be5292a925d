#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "train/rl/painter.h"
#include "train/rl/prompts.h"
#include "train/rl/reward.h"
#include "train/stage_options.h"

namespace glmimage::train::rl {

// What a stage is given beside its settings: what to draw, and who judges it.
struct RlParts {
  std::unique_ptr<Prompts> prompts;
  std::unique_ptr<RewardSum> rewards;
};

// What one set of weights drew, with advantages.
struct Rollout {
  std::vector<Prompt> prompts;  // rl.group pictures of each, one behind the other
  std::vector<Chunk> chunks;    // in the order in which passes learn from them
  nlohmann::json values =
      nlohmann::json::object();  // for the log: rewards and their spread, seconds of drawing and of judging

  // The chunk that a pass learns from, by the pass's number.
  const Chunk& of_pass(int64_t pass) const { return chunks[static_cast<size_t>(pass - chunks.front().pass)]; }
};

// Draws roll-outs. A function of the settings, the step and the weights: a run that goes on draws the same ones.
class Rollouts {
 public:
  // Fills a chunk's tokens and latents, and whatever else the stage keeps; its captions, noise and pass are there.
  using Draw = std::function<void(Chunk& chunk)>;

  // All must outlive this.
  Rollouts(const StageOptions& options, RlParts& parts, const Painter& painter)
      : options_(options), parts_(parts), painter_(painter) {}

  // The roll-out that begins with this update. Nothing when the run was told to stop meanwhile.
  std::optional<Rollout> make(int64_t step, const Draw& draw) const;
  // Mean rewards of config.rl.held_out_prompts pictures, always the same ones. For RunParts::held_out. Throws
  // ErrorKind::usage where the prompts have none that are held out.
  nlohmann::json held_out(const Draw& draw) const;
  // 0 for the first.
  int64_t number(int64_t step) const { return step / options_.config.rl.updates; }

 private:
  std::vector<Prompt> candidates(int64_t step, int64_t count) const;
  // Those that a picture each says are hardest; false when the run was told to stop meanwhile.
  bool keep_hardest(std::vector<Prompt>& prompts, int64_t step, const Draw& draw, nlohmann::json& values) const;
  Chunk empty_chunk(int64_t pass, const std::vector<Prompt>& prompts, int64_t first, int64_t count, int64_t each) const;
  const StageOptions& options_;
  RlParts& parts_;
  const Painter& painter_;
};

}  // namespace glmimage::train::rl
