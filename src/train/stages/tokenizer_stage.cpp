#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/argmax.h>
#include <ATen/ops/bincount.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mse_loss.h>
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
#include "train/presets.h"
#include "train/stages/export.h"
#include "train/stages/stages.h"

namespace glmimage::train {
namespace {

struct TokenizerBatch {
  at::Tensor patches;     // (B, n, 3·p·p)
  at::Tensor labels;      // (B, n) int64: what each cell shows
  at::Tensor parts;       // (B, n) int64: where in its object each cell lies (part_of), or kNothing
  at::Tensor background;  // (B, n) int64: the background's colour in cells that show nothing else, or kNothing
  Grid grid;
};

constexpr int64_t kNothing = -100;  // what cross_entropy_loss leaves out

// Where a cell lies in its object: the distance of their centres in half cells, down and right, at most 3 either way.
constexpr int64_t kPartSteps = 7;
int64_t part_of(double down, double right) {
  const auto step = [](double cells) { return std::clamp<int64_t>(std::llround(2 * cells) + 3, 0, kPartSteps - 1); };
  return step(down) * kPartSteps + step(right);
}

// What the codes must tell, each learned from a code and dropped at export: the object of the cell, the part of it and
// the colour of bare background from the code alone; with all codes of the picture in view, the object and the coarse
// look of the cell. The colour behind an object is not asked of the object's own codes: all pairs of the two are more
// than there are codes, and the cells around tell it.
struct Heads {
  Heads(const Preset& preset, int64_t classes, int64_t backgrounds)
      : width(preset.vision.hidden_size),
        name_alone(preset.vq.embed_dim, classes, Bias::yes),
        part_alone(preset.vq.embed_dim, kPartSteps * kPartSteps, Bias::yes),
        background_alone(preset.vq.embed_dim, backgrounds, Bias::yes),
        position(preset.vision.table_side() * preset.vision.table_side(), width),
        block(preset.vision),
        name(width, classes, Bias::yes),
        look(width, preset.vision.patch_values() / 16, Bias::yes) {}

  void list(ParameterList& list) {
    name_alone.list(list, "heads.name_alone");
    part_alone.list(list, "heads.part_alone");
    background_alone.list(list, "heads.background_alone");
    position.list(list, "heads.position");
    block.list(list, "heads.block");
    name.list(list, "heads.name");
    look.list(list, "heads.look");
  }

  int64_t width;
  Linear name_alone, part_alone, background_alone;
  Embedding position;
  VisionBlock block;
  Linear name, look;
};

// Cells at a quarter of their sides, (B, n, 3·(p/4)²): enough to tell where an object lies and how it is coloured.
at::Tensor coarse_look(const at::Tensor& patches, int64_t patch) {
  const int64_t count = patches.size(0), cells = patches.size(1), side = patch / 4;
  return patches.view({count, cells, 3, side, 4, side, 4}).mean(at::IntArrayRef{4, 6}).flatten(2);
}

struct TokenizerLosses {
  at::Tensor total;
  double name_alone = 0, name = 0, part_alone = 0, background = 0;  // accuracies
  double look = 0, commit = 0;                                      // losses
  at::Tensor ids;                                                   // (B, n)
  at::Tensor z;                                                     // (B·n, code_dim), detached
};

double accuracy(const at::Tensor& logits, const at::Tensor& labels, const at::Tensor& mask) {
  const at::Tensor right = at::argmax(logits.detach(), -1).eq(labels).logical_and(mask);
  return right.sum().item<double>() / std::max(1.0, mask.sum().item<double>());
}

// Cross entropy of the cells that have a label, as a share of all cells; nothing labelled is no loss.
at::Tensor mean_over_labelled(const at::Tensor& logits, const at::Tensor& labels, double weight) {
  const at::Tensor sum = at::cross_entropy_loss(logits, labels, {}, at::Reduction::Sum);
  return sum * (weight / static_cast<double>(labels.numel()));
}

// Names weigh above looks: the ids are all the later stages know of a picture (docs/training.md). VQ terms as in van
// den Oord et al. 2017 with beta 0.25, the codebook's gradient straight through. While `soft`, codes are not yet used.
TokenizerLosses tokenizer_losses(const VisualTokenizer& model, const Heads& heads, const TokenizerBatch& batch,
                                 bool soft) {
  const at::Tensor features = model.features(batch.patches, batch.grid);                // (B, n, E)
  const Quantized found = model.quantizer.quantize(model.quantizer.project(features));  // (B, n, d)
  const at::Tensor code = soft ? found.z : found.z + (found.q - found.z).detach();      // (B, n, d)
  const double root = std::sqrt(static_cast<double>(code.size(-1)));                    // unit vectors -> unit entries
  const at::Tensor scaled = code * root;

  const at::Tensor labels = batch.labels.flatten(), shown = labels > 0;                     // (B·n)
  const at::Tensor name_alone = heads.name_alone(scaled).flatten(0, 1);                     // (B·n, classes)
  const at::Tensor parts = batch.parts.flatten(), background = batch.background.flatten();  // (B·n)
  const at::Tensor part_alone = heads.part_alone(scaled).flatten(0, 1);                     // (B·n, parts)
  const at::Tensor background_alone = heads.background_alone(scaled).flatten(0, 1);         // (B·n, backgrounds)
  // post_quant_conv carries codes to the heads that see the whole picture; it stays in the checkpoint, as published.
  const Conv2d& post = model.quantizer.post_quant_conv;
  at::Tensor x = at::linear(scaled, post.weight.flatten(1), post.bias);  // (B, n, E)
  x = heads.block(x + heads.position(position_ids(batch.grid, model.config.vision.table_side())));
  const at::Tensor name = heads.name(x).flatten(0, 1);  // (B·n, classes)
  const at::Tensor look = at::mse_loss(heads.look(x), coarse_look(batch.patches, model.config.vision.patch_size));

  TokenizerLosses out;
  const at::Tensor commit = at::mse_loss(found.z, found.q.detach()) * root * root;
  const at::Tensor codebook = at::mse_loss(found.q, found.z.detach()) * root * root;
  out.total = at::cross_entropy_loss(name_alone, labels) + 0.5 * at::cross_entropy_loss(name, labels) +
              mean_over_labelled(part_alone, parts, 1.0) + mean_over_labelled(background_alone, background, 0.3) +
              1.0 * look;
  if (!soft) out.total = out.total + 0.25 * commit + codebook;
  out.name_alone = accuracy(name_alone, labels, shown);
  out.name = accuracy(name, labels, shown);
  out.part_alone = accuracy(part_alone, parts, parts >= 0);
  out.background = accuracy(background_alone, background, background >= 0);
  out.look = look.item<double>();
  out.commit = commit.item<double>();
  out.ids = found.ids;
  out.z = found.z.detach().flatten(0, 1);
  return out;
}

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
      for (const world::Object& object : scene.objects) {
        if (ask == AskParts::no || world::class_of(object) != shown[i]) continue;
        part = part_of(row - static_cast<double>(object.centre_y) / cell,
                       column - static_cast<double>(object.centre_x) / cell);
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
nlohmann::json held_out(const VisualTokenizer& model, const Heads& heads, const world::World& world,
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
  const Preset preset = find_preset(options.preset);
  const world::World world = world::World::open({.size = preset.picture_size});
  const int64_t side = preset.picture_size / kPixelsPerVisualToken;
  const Grid grid{side, side}, draft{preset.draft_size, preset.draft_size};
  const uint64_t seed = options.run.seed;

  VisualTokenizer model(VisualTokenizerConfig{preset.vision, preset.vq});
  Heads heads(preset, world::class_count(), world::background_count());
  ParameterList trained;
  model.list(trained);
  const size_t kept = trained.size();
  heads.list(trained);
  init_parameters(trained, make_generator(derive_seed(seed, Stream::init, 0)));
  CodeHistory history(preset.vq);

  Run run("tokenizer", options.run, trained, history.buffers());
  // A tenth of the steps without codes: features learn to name things before they are rounded.
  const int64_t soft_steps = options.run.steps / 10;
  Prefetch<TokenizerBatch> batches(
      [&](int64_t step) {
        // Every fourth batch is seen at the draft's size.
        const bool small = step % 4 == 3;
        return make_batch(world, sample_scenes(world, seed, Stream::data, step, options.run.batch),
                          small ? draft : grid, preset.preprocess, small ? AskParts::no : AskParts::yes);
      },
      run.first_step(), options.run.steps);
  for (int64_t step = run.first_step(); run.running(step); ++step) {
    const TokenizerBatch batch = batches.next();
    const bool soft = step < soft_steps;
    const TokenizerLosses losses = tokenizer_losses(model, heads, batch, soft);
    run.optimise(step, losses.total);
    history.add(losses.ids, losses.z);
    int64_t restarted = 0;
    const bool settled = step > options.run.steps * 8 / 10;  // late restarts would move codes others have learned
    if (step == soft_steps || (!soft && !settled && step % 50 == 0)) {
      if (step == soft_steps) history.uses.zero_();
      restarted = restart_dead_codes(model, history,
                                     make_generator(derive_seed(seed, Stream::codebook, static_cast<uint64_t>(step))));
    }
    run.log(step, {{"loss", losses.total.item<double>()},
                   {"name_alone", losses.name_alone},
                   {"name", losses.name},
                   {"part_alone", losses.part_alone},
                   {"background", losses.background},
                   {"look", losses.look},
                   {"commit", losses.commit},
                   {"restarted", restarted}});
    run.save_when_due(step);
  }
  if (run.stopping()) return;
  run.apply_ema();
  run.note(held_out(model, heads, world, preset, grid, seed));
  trained.resize(kept);
  export_part(options.run.out / "final", model.config.to_json(), trained, "model.safetensors");
}

}  // namespace glmimage::train
