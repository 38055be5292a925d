#include "bench/training.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>

#include <functional>
#include <vector>

#include "core/error.h"
#include "core/rng.h"
#include "train/losses/ar_loss.h"
#include "train/losses/flow_loss.h"
#include "train/losses/tokenizer_loss.h"
#include "train/losses/vae_loss.h"
#include "train/optim/adam_w.h"

namespace glmimage::bench {
namespace {

constexpr double kLearningRate = 1e-4;               // speed does not depend on it
constexpr int64_t kClasses = 96, kBackgrounds = 12;  // about what the synthetic world has

at::Tensor noise(at::IntArrayRef shape) { return at::randn(shape, make_generator(2), at::TensorOptions(at::kFloat)); }
at::Tensor ids(int64_t high, at::IntArrayRef shape) { return at::randint(high, shape, make_generator(3), at::kLong); }

// Times updates of `parameters`, which are drawn here, against `loss`.
void time_updates(Report& report, const std::string& key, const std::string& work, int64_t batch,
                  const ParameterList& parameters, Repeats repeats, const std::function<at::Tensor()>& loss) {
  init_parameters(parameters, make_generator(1));
  train::AdamW optimiser(parameters, {});
  report.add(key, work, time_runs(repeats, [&] {
               loss().backward();
               optimiser.step(kLearningRate);
             }));
  report.set(key, "batch", batch);
  report.set(key, "parameters", count_elements(parameters));
}

std::string work_text(int64_t batch, const std::string& what, const std::string& size) {
  return concat(size, ": ", batch, " ", what);
}

}  // namespace

TrainingSizes TrainingSizes::mini() {
  TrainingSizes sizes{.name = "mini", .preset = train::find_preset("mini")};
  sizes.preset.ar.vocab_size = 2448;  // of the shipped checkpoint
  return sizes;
}

TrainingSizes TrainingSizes::quick() {
  TrainingSizes sizes{.name = "quick",
                      .preset = train::find_preset("tiny"),
                      .vae_batch = 2,
                      .vae_side = 32,
                      .tokenizer_batch = 2,
                      .tokenizer_side = 2,
                      .ar_batch = 2,
                      .ar_prompt = 5,
                      .ar_drawn = 6,
                      .dit_batch = 2,
                      .dit_side = 64};
  sizes.preset.ar.vocab_size = 500;
  return sizes;
}

TrainingSizes TrainingSizes::published() {
  train::Preset p = train::find_preset("published");
  p.vision.depth = p.dit.layers = p.glyph.layers = p.ar.layers = 1;
  p.ar.vocab_size = p.ar.visual_vocab_size;
  return {.name = "published",
          .preset = p,
          .vae_batch = 1,
          .vae_side = 128,
          .tokenizer_batch = 1,
          .tokenizer_side = 32,
          .ar_batch = 1,
          .ar_prompt = 256,
          .ar_drawn = 769,
          .dit_batch = 1,
          .dit_side = 512};
}

void bench_vae_step(Report& report, const TrainingSizes& sizes, Repeats repeats) {
  Vae vae(sizes.preset.vae);
  ParameterList parameters;
  vae.list(parameters);
  const int64_t batch = sizes.vae_batch, side = sizes.vae_side;
  const at::Tensor pixels = noise({batch, 3, side, side}).clamp(-1, 1);
  time_updates(report, "vae." + sizes.name, work_text(batch, concat("crops of ", side, " x ", side), sizes.name), batch,
               parameters, repeats, [&] { return train::vae_losses(vae, pixels, make_generator(4)).total; });
}

void bench_tokenizer_step(Report& report, const TrainingSizes& sizes, Repeats repeats) {
  VisualTokenizer model({sizes.preset.vision, sizes.preset.vq});
  train::TokenizerHeads heads(sizes.preset.vision, sizes.preset.vq, kClasses, kBackgrounds);
  ParameterList parameters;
  model.list(parameters);
  heads.list(parameters);
  // What tells the pixels of pictures without labels has nothing to learn from these.
  std::erase_if(parameters, [](const Parameter& p) { return p.name.starts_with("heads.pixels."); });
  const int64_t batch = sizes.tokenizer_batch, side = sizes.tokenizer_side, cells = side * side;
  train::TokenizerBatch data;
  data.patches = noise({batch, cells, sizes.preset.vision.patch_values()}).clamp(-1, 1);
  data.labels = ids(kClasses, {batch, cells});
  data.parts = ids(train::kPartSteps * train::kPartSteps, {batch, cells});
  data.background = ids(kBackgrounds, {batch, cells});
  data.unlabelled = at::zeros({batch}, at::kFloat);
  data.grid = {side, side};
  time_updates(report, "tokenizer." + sizes.name,
               work_text(batch, concat("pictures of ", side, " x ", side, " tokens"), sizes.name), batch, parameters,
               repeats, [&] { return train::tokenizer_losses(model, heads, data).total; });
}

void bench_ar_step(Report& report, const TrainingSizes& sizes, Repeats repeats) {
  const ArConfig& config = sizes.preset.ar;
  ArModel model(config);
  ParameterList parameters;
  model.list(parameters);
  const int64_t batch = sizes.ar_batch, length = sizes.ar_prompt + sizes.ar_drawn - 1;  // the last id is not read
  train::SequenceBatch data;
  data.ids = ids(config.vocab_size, {batch, length});
  data.positions = at::arange(length, at::kLong).expand({3, batch, length});
  data.targets = at::full({batch, length}, -100, at::kLong);
  data.targets.narrow(1, sizes.ar_prompt - 1, sizes.ar_drawn)
      .copy_(ids(config.visual_vocab_size, {batch, sizes.ar_drawn}));
  time_updates(report, "ar." + sizes.name, work_text(batch, concat("sequences of ", length, " ids"), sizes.name), batch,
               parameters, repeats, [&] { return train::sequence_loss(model, data); });
}

void bench_dit_step(Report& report, const TrainingSizes& sizes, Repeats repeats) {
  train::FlowModel model{DitModel(sizes.preset.dit), GlyphEncoder(sizes.preset.glyph)};
  ParameterList parameters;
  model.list(parameters);
  const int64_t batch = sizes.dit_batch, side = sizes.dit_side;
  const Grid grid{side / kPixelsPerVisualToken, side / kPixelsPerVisualToken};
  train::EncodedBatch data;
  data.captions.assign(static_cast<size_t>(batch), "a green sign with the text \"OPEN\"");
  data.target = {grid, ids(sizes.preset.dit.codes, {batch, grid.count()}),
                 noise({batch, sizes.preset.dit.in_channels, side / 8, side / 8})};
  time_updates(report, "dit." + sizes.name, work_text(batch, concat("pictures of ", side, " x ", side), sizes.name),
               batch, parameters, repeats, [&] { return train::flow_loss(model, data, {}, make_generator(4)); });
}

}  // namespace glmimage::bench
