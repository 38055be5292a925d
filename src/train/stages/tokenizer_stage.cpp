#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/bincount.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>

#include "core/rng.h"
#include "models/visual_tokenizer/visual_tokenizer.h"
#include "train/data/half_size.h"
#include "train/data/prefetch.h"
#include "train/data/world_batches.h"
#include "train/losses/tokenizer_loss.h"
#include "train/presets.h"
#include "train/run.h"
#include "train/stages/export.h"
#include "train/stages/stages.h"

namespace glmimage::train {
namespace {

// What the late batches chose and held, saved with the run.
struct CodeHistory {
  explicit CodeHistory(const VqConfig& vq)
      : uses(at::zeros({vq.codes}, at::kFloat)),
        recent(at::zeros({4 * vq.codes, vq.embed_dim}, at::kFloat)),
        filled(at::zeros({1}, at::kFloat)) {}

  ParameterList buffers() {
    return {{"codebook.uses", &uses, uses.sizes().vec(), Init::zeros()},
            {"codebook.recent", &recent, recent.sizes().vec(), Init::zeros()},
            {"codebook.recent_filled", &filled, {1}, Init::zeros()}};
  }

  void add(const at::Tensor& ids, const at::Tensor& z) {
    const int64_t room = recent.size(0);
    uses = uses * 0.98 + at::bincount(ids.flatten(), {}, uses.size(0)).to(at::kFloat) * 0.02;
    recent = at::cat({z, recent}).slice(0, 0, room);
    filled.fill_(std::min<double>(static_cast<double>(room), filled.item<double>() + static_cast<double>(z.size(0))));
  }

  at::Tensor uses;    // (codes) float32: fading counts
  at::Tensor recent;  // (4·codes, code_dim) float32: features, newest first
  at::Tensor filled;  // (1) float32: how many rows of `recent` hold features
};

// Codes nobody chose lately move to late features, so that the whole codebook works.
int64_t restart_dead_codes(VisualTokenizer& model, CodeHistory& history, at::Generator random) {
  at::NoGradGuard no_grad;
  const at::Tensor dead = (history.uses < 0.5).nonzero().flatten();  // (k)
  history.uses = history.uses + 1.0;
  if (dead.numel() == 0) return 0;
  const at::Tensor pick = at::randint(history.filled.item<int64_t>(), {dead.numel()}, random, at::kLong);
  model.quantizer.codebook.weight.index_copy_(0, dead, history.recent.index_select(0, pick));
  return dead.numel();
}

// Parts are asked of full-size pictures alone: in a draft an object is cut into too many for a code each, and the DiT
// never sees its codes.
enum class AskParts { yes, no };

TokenizerBatch make_batch(const world::World& world, const std::vector<world::Scene>& scenes, Grid grid,
                          const PreprocessConfig& preprocess, AskParts ask) {
  TokenizerBatch batch;
  batch.grid = grid;
  std::vector<Image> images;
  std::vector<int64_t> labels, parts, backgrounds;
  const double cell = static_cast<double>(world.size()) / static_cast<double>(grid.height);  // pixels
  for (const world::Scene& scene : scenes) {
    images.push_back(world.render(scene));
    const std::vector<int64_t> shown = world.cell_labels(scene, grid.height);
    for (size_t i = 0; i < shown.size(); ++i) {
      const double row = static_cast<double>(static_cast<int64_t>(i) / grid.width) + 0.5;
      const double column = static_cast<double>(static_cast<int64_t>(i) % grid.width) + 0.5;
      int64_t part = kNothing;
      double nearest = 2 * static_cast<double>(grid.height);
      for (const world::Object& object : scene.objects) {
        if (ask == AskParts::no || world::class_of(object) != shown[i]) continue;
        const double down = row - static_cast<double>(object.centre_y) / cell;
        const double right = column - static_cast<double>(object.centre_x) / cell;
        const double distance = std::max(std::abs(down), std::abs(right));
        if (distance >= nearest) continue;  // of several equal objects the cell belongs to the nearest
        nearest = distance;
        part = part_of(down, right);
      }
      labels.push_back(shown[i]);
      parts.push_back(part);
      backgrounds.push_back(shown[i] == 0 ? scene.background : kNothing);
    }
  }
  batch.patches = half_size_patches(images, grid, preprocess);
  const int64_t count = static_cast<int64_t>(scenes.size());
  batch.labels = at::tensor(labels, at::kLong).view({count, grid.count()});
  batch.parts = at::tensor(parts, at::kLong).view({count, grid.count()});
  batch.background = at::tensor(backgrounds, at::kLong).view({count, grid.count()});
  return batch;
}

// Naming by codes on pictures the training has not seen: the ceiling of every later stage.
nlohmann::json held_out(const VisualTokenizer& model, const TokenizerHeads& heads, const world::World& world,
                        const Preset& preset, Grid grid, uint64_t seed) {
  at::NoGradGuard no_grad;
  double alone = 0, name = 0, part = 0, background = 0;
  at::Tensor counts = at::zeros({preset.vq.codes}, at::kLong);
  constexpr int64_t kBatches = 16;
  for (int64_t step = 0; step < kBatches; ++step) {
    const auto scenes = sample_scenes(world, seed, Stream::held_out, 200 + step, 64);
    const TokenizerLosses losses =
        tokenizer_losses(model, heads, make_batch(world, scenes, grid, preset.preprocess, AskParts::yes), false);
    alone += losses.name_alone / kBatches;
    name += losses.name / kBatches;
    part += losses.part_alone / kBatches;
    background += losses.background / kBatches;
    counts += at::bincount(losses.ids.flatten(), {}, preset.vq.codes);
  }
  const at::Tensor p = counts.to(at::kDouble) / counts.sum();
  const double perplexity = std::exp(-(p * (p + 1e-12).log()).sum().item<double>());
  return {{"cells_named_by_code_alone", alone},
          {"cells_named_by_all_codes", name},
          {"parts_named_by_code_alone", part},
          {"background", background},
          {"codes_in_use", (counts > 0).sum().item<int64_t>()},
          {"perplexity", perplexity}};
}

}  // namespace

void train_tokenizer(const StageOptions& options) {
  const Beginning beginning = begin_run("tokenizer", options);
  const Preset preset = find_preset(options.config.preset);
  const world::World world = world::World::open({.size = preset.picture_size, .languages = preset.languages});
  const int64_t side = preset.picture_size / kPixelsPerVisualToken;
  const Grid grid{side, side}, draft{preset.draft_size, preset.draft_size};
  const uint64_t seed = options.config.seed;

  VisualTokenizer model(VisualTokenizerConfig{preset.vision, preset.vq});
  TokenizerHeads heads(preset.vision, preset.vq, world::class_count(), world::background_count());
  ParameterList trained;
  model.list(trained);
  const size_t kept = trained.size();
  heads.list(trained);
  init_parameters(trained, make_generator(derive_seed(seed, Stream::init, 0)));
  CodeHistory history(preset.vq);

  Run run(options, beginning, {.trained = trained, .buffers = history.buffers(), .held_out = [&] {
                                 return held_out(model, heads, world, preset, grid, seed);
                               }});
  // A tenth of the steps without codes: features learn to name things before they are rounded.
  const int64_t steps = options.config.steps, soft_steps = steps / 10;
  Prefetch<TokenizerBatch> batches(
      [&](int64_t pass) {
        // Every fourth batch is seen at the draft's size.
        const bool small = pass % 4 == 3;
        return make_batch(world, sample_scenes(world, seed, Stream::data, pass, options.config.batch),
                          small ? draft : grid, preset.preprocess, small ? AskParts::no : AskParts::yes);
      },
      run.first_pass(), run.end_pass());
  for (int64_t step = run.first_step(); run.running(step); ++step) {
    const bool soft = step < soft_steps;
    nlohmann::json values = run.update(step, [&](int64_t pass) -> Pass {
      const TokenizerBatch batch = batches.next();
      const TokenizerLosses losses = tokenizer_losses(model, heads, batch, soft, activations_of(options.config));
      history.add(losses.ids, losses.z);
      return {.loss = losses.total,
              .values = {{"name_alone", losses.name_alone},
                         {"name", losses.name},
                         {"part_alone", losses.part_alone},
                         {"background", losses.background},
                         {"look", losses.look},
                         {"commit", losses.commit}}};
    });
    values["restarted"] = 0;
    const bool settled = step > steps * 8 / 10;  // late restarts would move codes others have learned
    if (step == soft_steps || (!soft && !settled && step % 50 == 0)) {
      if (step == soft_steps) history.uses.zero_();
      values["restarted"] = restart_dead_codes(
          model, history, make_generator(derive_seed(seed, Stream::codebook, static_cast<uint64_t>(step))));
    }
    run.log(step, std::move(values));
    run.finish_step(step);
  }
  if (run.stopping()) return;
  run.apply_ema();
  run.note(held_out(model, heads, world, preset, grid, seed));
  trained.resize(kept);
  export_part(options.out / "final", model.config.to_json(), trained, "model.safetensors");
}

}  // namespace glmimage::train
