#include <ATen/TensorOperators.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/randn.h>

#include <algorithm>

#include "core/error.h"
#include "core/rng.h"
#include "train/random.h"
#include "train/rl/anchor.h"
#include "train/rl/nft_loss.h"
#include "train/rl/rl_stages.h"
#include "train/rl/visual_ids.h"
#include "train/rl/weight_copies.h"
#include "train/run.h"
#include "train/stages/starting_point.h"

namespace glmimage::train::rl {
namespace {

// The three policies: what learns, what draws, what is not to be left too far behind.
struct Policies {
  const FlowModel& model;
  const FlowModel& old;
  const FlowModel* reference;  // null: rl.kl is 0
};

at::Tensor velocity_of(const FlowModel& model, const Chunk& chunk, const at::Tensor& latents,
                       const at::Tensor& timestep, Activations activations) {
  const GlyphBatch glyphs = encode_glyph_batch(model.glyph, chunk.captions);
  return model.dit.forward(conditioned(chunk, glyphs, latents, timestep), nullptr, activations).to(at::kFloat);
}

// The pictures of a chunk whose group differs. While the model is what drew, the others' gradients are zero, and they
// are most once the model is good.
Chunk informative(const Chunk& chunk) {
  at::Tensor rows = chunk.advantages.nonzero().flatten();  // (n)
  if (rows.numel() == 0) rows = rows.new_zeros({1});       // a pass needs one: its gradient is zero
  Chunk out;
  out.pass = chunk.pass;
  for (int64_t i = 0; i < rows.numel(); ++i) {
    const auto row = static_cast<size_t>(rows[i].item<int64_t>());
    out.prompts.push_back(chunk.prompts[row]);
    out.captions.push_back(chunk.captions[row]);
  }
  out.tokens = {chunk.tokens.grid, chunk.tokens.ids.index_select(0, rows)};
  out.latents = chunk.latents.index_select(0, rows);
  out.advantages = chunk.advantages.index_select(0, rows);
  return out;
}

// Each picture of a chunk at nft.times noise levels.
Pass learn(const Policies& policies, const Chunk& chunk, const TrainConfig& config, at::Generator random) {
  const int64_t times = config.nft.times, rows = times * chunk.size();
  const at::Tensor x0 = chunk.latents.repeat({times, 1, 1, 1});  // (R, C, h, w)
  const NoiseLevels levels = draw_noise_levels(config.dit.density, rows, 4 * chunk.tokens.grid.count(), random);
  const at::Tensor noise = at::randn(x0.sizes(), random, at::kFloat).to(x0.device());
  const at::Tensor sigmas = levels.sigmas.to(x0.device()), s = sigmas.view({rows, 1, 1, 1});
  const at::Tensor latents = (1 - s) * x0 + s * noise;
  const at::Tensor timestep = (levels.times * 1000 - 1).clamp_min(0).to(x0.device());
  const Activations activations = activations_of(config);

  const at::Tensor old = velocity_of(policies.old, chunk, latents, timestep, activations).detach();
  at::Tensor reference;
  if (policies.reference) {
    reference = velocity_of(*policies.reference, chunk, latents, timestep, activations).detach();
  }
  const at::Tensor velocity = velocity_of(policies.model, chunk, latents, timestep, activations);
  at::Tensor loss = nft_loss({.velocity = velocity,
                              .old = old,
                              .target = noise - x0,
                              .sigmas = sigmas,
                              .optimality = optimality_of(chunk.advantages, config.rl.advantage_limit).repeat({times})},
                             config.nft.strength, config.nft.weighting);
  Pass pass{.loss = loss, .values = {{"nft", loss.item<double>()}}, .weight = static_cast<double>(chunk.size())};
  pass.values["drift"] = (velocity.detach() - old).square().mean().item<double>();
  if (reference.defined()) {
    const at::Tensor kl = (velocity - reference).square().mean();
    pass.values["kl"] = kl.item<double>();
    pass.loss = pass.loss + config.rl.kl * kl;
  }
  return pass;
}

}  // namespace

void train_nft(const StageOptions& options, RlParts parts) {
  if (options.init.empty()) fail(ErrorKind::usage, "stage nft improves a checkpoint: --init DIR");
  const Beginning beginning = begin_run("nft", options);
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
  FlowModel old = frozen_copy(model, options);  // draws
  const std::optional<FlowModel> reference =
      config.rl.kl > 0 ? std::optional(frozen_copy(model, options)) : std::nullopt;
  const ParameterList old_weights = named_copy(old, config, "old.");
  const Rollouts rollouts(options, parts, painter);
  const auto draw_with = [&](const FlowModel& policy) {
    return [&, &policy = policy](Chunk& chunk) {
      set_tokens(chunk, *ids, painter.grid(), options.device);
      chunk.latents = painter.paint(policy, chunk);
    };
  };
  Run run(options, beginning,
          {.trained = started->trained, .buffers = old_weights, .foundations = foundations, .held_out = [&] {
             return rollouts.held_out(draw_with(model));
           }});
  anchor.begin(run);
  for (int64_t step = run.first_step(); run.running(step); step += config.rl.updates) {
    const std::optional<Rollout> rollout = rollouts.make(step, draw_with(old));
    if (!rollout) {
      run.running(step);  // stopped: saves
      break;
    }
    for (int64_t update = 0; update < config.rl.updates; ++update) {
      nlohmann::json values = run.update(step + update, [&](int64_t number) {
        const Chunk& chunk = rollout->of_pass(number);
        const uint64_t seed = derive_seed(config.seed, Stream::noise, static_cast<uint64_t>(number));
        Pass pass =
            learn({model, old, reference ? &*reference : nullptr}, informative(chunk), config, make_generator(seed));
        anchor.add_to(pass, model, number);
        return pass;
      });
      values.update(rollout->values);
      run.log(step + update, std::move(values));
    }
    const double keep = std::min(config.nft.old_most, config.nft.old_rise * static_cast<double>(rollouts.number(step)));
    follow(old_weights, started->trained, keep);
    run.finish_step(step + config.rl.updates - 1);
  }
  if (run.stopping()) return;
  run.apply_ema();
  if (parts.prompts->held_out(0)) run.note_held_out();
  export_flow_model(options, model);
}

}  // namespace glmimage::train::rl
