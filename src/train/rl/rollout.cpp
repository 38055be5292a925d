#include "train/rl/rollout.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <chrono>
#include <numeric>

#include "core/autocast.h"
#include "core/error.h"
#include "core/rng.h"
#include "train/random.h"
#include "train/rl/advantages.h"

namespace glmimage::train::rl {
namespace {

class Seconds {
 public:
  double take() {
    const auto now = std::chrono::steady_clock::now();
    const double passed = std::chrono::duration<double>(now - last_).count();
    last_ = now;
    return passed;
  }

 private:
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

void append_judged(std::vector<Judged>& judged, const Chunk& chunk, const Painter& painter) {
  std::vector<Image> images = painter.decode(chunk.latents);
  for (size_t i = 0; i < images.size(); ++i) judged.push_back({*chunk.prompts[i], std::move(images[i])});
}

}  // namespace

// Pictures first … first + count - 1 of `prompts`, `each` of one behind the other.
Chunk Rollouts::empty_chunk(int64_t pass, const std::vector<Prompt>& prompts, int64_t first, int64_t count,
                            int64_t each) const {
  Chunk chunk;
  chunk.pass = pass;
  for (int64_t i = first; i < first + count; ++i) {
    chunk.prompts.push_back(&prompts[static_cast<size_t>(i / each)]);
    chunk.captions.push_back(chunk.prompts.back()->text);
  }
  return chunk;
}

std::vector<Prompt> Rollouts::candidates(int64_t step, int64_t count) const {
  std::vector<Prompt> out;
  for (int64_t i = 0; i < count; ++i)
    out.push_back(parts_.prompts->at(static_cast<uint64_t>(number(step) * count + i)));
  return out;
}

bool Rollouts::keep_hardest(std::vector<Prompt>& prompts, int64_t step, const Draw& draw,
                            nlohmann::json& values) const {
  const TrainConfig& config = options_.config;
  const auto count = static_cast<int64_t>(prompts.size()), kept = count / config.rl.probes;
  std::vector<Judged> judged;
  for (int64_t first = 0; first < count; first += config.batch) {
    const int64_t size = std::min(config.batch, count - first);
    // No pass learns from these: numbers below 0, and noise of their own.
    Chunk chunk = empty_chunk(-1 - step * count - first, prompts, first, size, 1);
    chunk.noise = painter_.noise(
        size, make_generator(derive_seed(config.seed, Stream::rollout, static_cast<uint64_t>(chunk.pass))));
    draw(chunk);
    append_judged(judged, chunk, painter_);
    if (options_.stop && options_.stop->load()) return false;
  }
  const RewardSum::Result scores = parts_.rewards->score(judged);
  const nlohmann::json means = scores.means(*parts_.rewards);
  for (const auto& [name, mean] : means.items()) values["probe_" + name] = mean;
  std::vector<size_t> order(prompts.size());
  std::iota(order.begin(), order.end(), 0);
  const auto hardness = [&](size_t i) { return scores.judged[i] ? scores.total[i] : 2; };
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return hardness(a) < hardness(b); });
  std::vector<Prompt> hardest;
  for (int64_t i = 0; i < kept; ++i) hardest.push_back(std::move(prompts[order[static_cast<size_t>(i)]]));
  prompts = std::move(hardest);
  return true;
}

std::optional<Rollout> Rollouts::make(int64_t step, const Draw& draw) const {
  at::NoGradGuard no_grad;
  const TrainConfig& config = options_.config;
  const RlSettings& rl = config.rl;
  const int64_t chunks = config.accumulate * rl.updates, prompts = config.batch * chunks / rl.group;
  Seconds seconds;
  Rollout out;
  out.prompts = candidates(step, prompts * rl.probes);
  if (rl.probes > 1 && !keep_hardest(out.prompts, step, draw, out.values)) return std::nullopt;
  std::vector<Judged> judged;
  for (int64_t i = 0; i < chunks; ++i) {
    Chunk chunk = empty_chunk(step * config.accumulate + i, out.prompts, i * config.batch, config.batch, rl.group);
    chunk.noise = painter_.noise(
        config.batch, make_generator(derive_seed(config.seed, Stream::rollout, static_cast<uint64_t>(chunk.pass))));
    draw(chunk);
    append_judged(judged, chunk, painter_);
    out.chunks.push_back(std::move(chunk));
    if (options_.stop && options_.stop->load()) return std::nullopt;
  }
  const double drawing = seconds.take();
  const RewardSum::Result scores = parts_.rewards->score(judged);
  const Advantages advantages =
      make_advantages(scores.total, {.norm = rl.advantages, .group = rl.group, .limit = rl.advantage_limit});
  for (int64_t i = 0; i < chunks; ++i) {
    const double* own = advantages.values.data() + i * config.batch;
    const std::vector<double> values(own, own + config.batch);
    out.chunks[static_cast<size_t>(i)].advantages =
        at::tensor(values, at::TensorOptions().dtype(at::kFloat)).to(options_.device);
  }
  out.values.update(scores.means(*parts_.rewards));
  out.values["reward_std"] = advantages.spread.std;
  out.values["group_std"] = advantages.spread.group_std;
  out.values["zero_groups"] = advantages.spread.zero_share;
  out.values["draw_seconds"] = drawing;
  out.values["judge_seconds"] = seconds.take();
  return out;
}

nlohmann::json Rollouts::held_out(const Draw& draw) const {
  at::NoGradGuard no_grad;
  const TrainConfig& config = options_.config;
  std::vector<Prompt> prompts;
  for (int64_t i = 0; i < config.rl.held_out_prompts; ++i) {
    const std::optional<Prompt> prompt = parts_.prompts->held_out(static_cast<uint64_t>(i));
    if (!prompt) fail(ErrorKind::usage, "held_out_every: of a list of prompts (rl.prompts) nothing is held out");
    prompts.push_back(*prompt);
  }
  std::vector<Judged> judged;
  const auto count = static_cast<int64_t>(prompts.size());
  for (int64_t first = 0; first < count; first += config.batch) {
    const int64_t size = std::min(config.batch, count - first);
    Chunk chunk = empty_chunk(0, prompts, first, size, 1);
    chunk.noise =
        painter_.noise(size, make_generator(derive_seed(config.seed, Stream::samples, static_cast<uint64_t>(first))));
    draw(chunk);
    append_judged(judged, chunk, painter_);
  }
  return parts_.rewards->score(judged).means(*parts_.rewards);
}

}  // namespace glmimage::train::rl
