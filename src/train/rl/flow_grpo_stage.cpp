#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/randn.h>

#include <map>

#include "core/autocast.h"
#include "core/error.h"
#include "core/rng.h"
#include "pipeline/velocity.h"
#include "train/random.h"
#include "train/rl/advantages.h"
#include "train/rl/anchor.h"
#include "train/rl/rl_stages.h"
#include "train/rl/sde.h"
#include "train/rl/visual_ids.h"
#include "train/rl/weight_copies.h"
#include "train/run.h"
#include "train/stages/starting_point.h"

namespace glmimage::train::rl {
namespace {

// A step that was drawn by chance, of a chunk's pictures.
struct ChanceStep {
  int64_t step = 0;
  at::Tensor latents, reached;  // (B, C, h, w) float32, before and behind it
  at::Tensor log_p;             // (B), of the policy that drew
};
using ChanceSteps = std::map<int64_t, std::vector<ChanceStep>>;  // by the pass that learns from them

// Draws a chunk, the steps of `window` by chance, and keeps those. Gradients are recorded and dropped again at each
// step: learning runs the same kernels then, to the bit.
std::vector<ChanceStep> draw(const FlowModel& model, Chunk& chunk, const Painter& painter, StepWindow window,
                             const TrainConfig& config) {
  at::AutoGradMode grad(true);
  const Autocast precision(model.dit.device(), arithmetic_of(config));
  const GlyphBatch glyphs = encode_glyph_batch(model.glyph, chunk.captions);
  DenoiseRequest request = painter.request(model.dit, chunk, glyphs, encode_glyph_batch(model.glyph, {""}));
  // Not the numbers that the chunk's first noise was drawn from.
  at::Generator random = make_generator(
      derive_seed(config.seed, Stream::rollout, (uint64_t{1} << 40) + static_cast<uint64_t>(chunk.pass)));
  const auto sigma = request.schedule.sigmas.accessor<float, 1>();
  std::vector<ChanceStep> kept;
  request.advance = [&](int64_t i, const at::Tensor& latents, const at::Tensor& attached) -> at::Tensor {
    const at::Tensor velocity = attached.detach();
    if (!window.contains(i)) return latents + velocity * (sigma[i + 1] - sigma[i]);
    const SdeStep step = sde_step(painter.schedule(), i, config.flow_grpo.noise);
    const at::Tensor mean = sde_mean(step, latents, velocity);
    const at::Tensor z = at::randn(mean.sizes(), random, at::kFloat).to(mean.device());
    const at::Tensor reached = mean + step.deviation() * z;
    kept.push_back({i, latents, reached, log_probability(step, reached, mean)});
    return reached;
  };
  chunk.latents = denoise(request);
  return kept;
}

// The same passes once more, with gradients: the same shapes, and so the same bits.
Pass learn(const FlowModel& model, const FlowModel* reference, const Chunk& chunk, const std::vector<ChanceStep>& steps,
           const Painter& painter, const TrainConfig& config, Update update) {
  const GlyphBatch glyphs = encode_glyph_batch(model.glyph, chunk.captions);
  const GlyphBatch negative = encode_glyph_batch(model.glyph, {""});
  const DenoiseRequest request = painter.request(model.dit, chunk, glyphs, negative);
  const Velocity velocity(request, activations_of(config));
  const auto label = request.schedule.timesteps.accessor<float, 1>();
  const double share = 1.0 / static_cast<double>(steps.size());
  Pass pass{.loss = {}, .values = {{"ratio", 0.0}, {"clip_share", 0.0}}, .weight = 1};
  const auto add = [&](const at::Tensor& term) { pass.loss = pass.loss.defined() ? pass.loss + term : term; };
  for (const ChanceStep& kept : steps) {
    const SdeStep step = sde_step(painter.schedule(), kept.step, config.flow_grpo.noise);
    const at::Tensor mean = sde_mean(step, kept.latents, velocity(kept.step, kept.latents, label[kept.step] - 1));
    const at::Tensor ratio = (log_probability(step, kept.reached, mean) - kept.log_p).exp();  // (B)
    if (update == Update::first_of_rollout) expect_on_policy(ratio);
    const Clipped clipped = clipped_objective(ratio, chunk.advantages, config.flow_grpo.clip);
    add(share * clipped.loss.mean());
    pass.values["ratio"] = pass.values["ratio"].get<double>() + share * ratio.detach().mean().item<double>();
    pass.values["clip_share"] = pass.values["clip_share"].get<double>() + share * clipped.share;
    if (!reference) continue;
    at::Tensor apart;  // of the two policies' normal distributions: their KL divergence, the mean over elements
    {
      at::NoGradGuard no_grad;
      const GlyphBatch theirs = encode_glyph_batch(reference->glyph, chunk.captions);
      const GlyphBatch theirs_negative = encode_glyph_batch(reference->glyph, {""});
      const DenoiseRequest other = painter.request(reference->dit, chunk, theirs, theirs_negative);
      apart = sde_mean(step, kept.latents, Velocity(other)(kept.step, kept.latents, label[kept.step] - 1));
    }
    const double deviation = step.deviation();
    const at::Tensor kl = (mean - apart).square().mean() / (2 * deviation * deviation);
    pass.values["kl"] = pass.values.value("kl", 0.0) + share * kl.item<double>();
    add(share * config.rl.kl * kl);
  }
  return pass;
}

}  // namespace

void train_flow_grpo(const StageOptions& options, RlParts parts) {
  if (options.init.empty()) fail(ErrorKind::usage, "stage flow-grpo improves a checkpoint: --init DIR");
  const Beginning beginning = begin_run("flow-grpo", options);
  const TrainConfig& config = options.config;
  const Preset preset = starting_preset(options);
  const Painter painter(options, preset);
  const std::unique_ptr<PromptIds> ids = PromptIds::open(options, preset, painter);
  Anchor anchor(options, beginning, preset);
  if (!anchor.complete()) return;
  const Foundations foundations = painted_foundations(options);
  check_foundations(beginning, foundations);

  const std::unique_ptr<StartedFlowModel> started = start_flow_model(options, preset);
  FlowModel& model = started->model;
  const std::optional<FlowModel> reference =
      config.rl.kl > 0 ? std::optional(frozen_copy(model, options)) : std::nullopt;
  const Rollouts rollouts(options, parts, painter);
  const auto paint = [&](Chunk& chunk) {
    set_tokens(chunk, *ids, painter.grid(), options.device);
    chunk.latents = painter.paint(model, chunk);
  };
  Run run(options, beginning, {.trained = started->trained, .foundations = foundations, .held_out = [&] {
                                 return rollouts.held_out(paint);
                               }});
  anchor.begin(run);
  for (int64_t step = run.first_step(); run.running(step); step += config.rl.updates) {
    const StepWindow window =
        window_of(config.flow_grpo, painter.schedule().steps(), rollouts.number(step), config.seed);
    ChanceSteps kept;
    const std::optional<Rollout> rollout = rollouts.make(step, [&](Chunk& chunk) {
      set_tokens(chunk, *ids, painter.grid(), options.device);
      kept[chunk.pass] = draw(model, chunk, painter, window, config);
    });
    if (!rollout) {
      run.running(step);  // stopped: saves
      break;
    }
    for (int64_t update = 0; update < config.rl.updates; ++update) {
      nlohmann::json values = run.update(step + update, [&](int64_t number) {
        const Chunk& chunk = rollout->of_pass(number);
        Pass pass = learn(model, reference ? &*reference : nullptr, chunk, kept.at(number), painter, config,
                          update == 0 ? Update::first_of_rollout : Update::later);
        anchor.add_to(pass, model, number);
        return pass;
      });
      values["window"] = window.first;
      values.update(rollout->values);
      run.log(step + update, std::move(values));
    }
    run.finish_step(step + config.rl.updates - 1);
  }
  if (run.stopping()) return;
  run.apply_ema();
  if (parts.prompts->held_out(0)) run.note_held_out();
  export_flow_model(options, model);
}

}  // namespace glmimage::train::rl
