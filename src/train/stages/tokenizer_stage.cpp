#include <ATen/TensorOperators.h>
#include <ATen/ops/bincount.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <cmath>

#include "core/rng.h"
#include "models/visual_tokenizer/visual_tokenizer.h"
#include "train/data/half_size.h"
#include "train/data/picture_encoder.h"
#include "train/losses/tokenizer_loss.h"
#include "train/random.h"
#include "train/run.h"
#include "train/stages/code_history.h"
#include "train/stages/export.h"
#include "train/stages/stage_data.h"
#include "train/stages/stages.h"
#include "train/stages/starting_point.h"
#include "train/world/world.h"

namespace glmimage::train {
namespace {

// At which size the tower sees the pictures: their own, or that of the draft the language model draws first.
enum class Seen { whole, draft };

// Labels of a batch, cell by cell.
struct LabelRows {
  std::vector<int64_t> shown, parts, backgrounds;
  std::vector<float> unlabelled;

  // Parts are asked of full-size pictures alone: in a draft an object is cut into too many for a code each, and the DiT
  // never sees its codes.
  void add(const std::optional<CellLabels>& labels, Grid grid, Seen seen) {
    unlabelled.push_back(labels ? 0.0F : 1.0F);
    const auto append = [&](std::vector<int64_t>& to, const std::vector<int64_t>* from) {
      if (from)
        to.insert(to.end(), from->begin(), from->end());
      else
        to.insert(to.end(), static_cast<size_t>(grid.count()), kNothing);
    };
    append(shown, labels ? &labels->shown : nullptr);
    append(parts, labels && seen == Seen::whole ? &labels->parts : nullptr);
    append(backgrounds, labels ? &labels->backgrounds : nullptr);
  }
};

TokenizerBatch make_batch(const DataSet& data, const DataBatch& pictures, const Preset& preset, Seen seen) {
  const Image& first = pictures.pictures[0];
  const Grid whole = grid_of({first.width, first.height});
  TokenizerBatch batch;
  batch.grid = seen == Seen::whole ? whole : draft_grid_of(whole, preset.draft_size);
  batch.patches = half_size_patches(pictures.pictures, batch.grid, preset.preprocess);
  LabelRows rows;
  for (size_t i = 0; i < pictures.records.size(); ++i) {
    rows.add(data.labels(pictures.records[i], pictures.framings[i], batch.grid), batch.grid, seen);
  }
  const int64_t count = batch.patches.size(0);
  const auto cells = [&](const std::vector<int64_t>& values) {
    return at::tensor(values, at::kLong).view({count, batch.grid.count()});
  };
  batch.labels = cells(rows.shown);
  batch.parts = cells(rows.parts);
  batch.background = cells(rows.backgrounds);
  batch.unlabelled = at::tensor(rows.unlabelled, at::kFloat);
  return batch;
}

// How well codes name and show pictures the training has not seen: the ceiling of every later stage. Nothing where none
// are held out.
nlohmann::json held_out(const VisualTokenizer& model, const TokenizerHeads& heads, const DataSet& data,
                        const Preset& preset, const TokenizerSettings& settings) {
  double alone = 0, name = 0, part = 0, background = 0, labelled = 0, look = 0, pixels = 0, all = 0;
  at::Tensor counts = at::zeros({preset.vq.codes}, at::kLong);
  for (const std::vector<int64_t>& records : data.lists(DataSet::Which::held_out, 64)) {
    const DataBatch pictures = data.pictures(records);
    if (pictures.pictures.empty()) continue;
    const TokenizerBatch batch = make_batch(data, pictures, preset, Seen::whole).to(heads.name.weight.device());
    const TokenizerLosses losses = tokenizer_losses(model, heads, batch, {.weights = settings});
    const double rows = static_cast<double>(pictures.real), without = batch.unlabelled.sum().item<double>();
    alone += losses.name_alone * (rows - without);
    name += losses.name * (rows - without);
    part += losses.part_alone * (rows - without);
    background += losses.background * (rows - without);
    labelled += rows - without;
    look += losses.look * rows;
    pixels += losses.pixels * rows;  // a share of the batch already
    all += rows;
    counts += at::bincount(losses.ids.flatten(), {}, preset.vq.codes).cpu();
  }
  if (all == 0) return nlohmann::json::object();
  const at::Tensor p = counts.to(at::kDouble) / counts.sum();
  nlohmann::json out = {{"look", look / all},
                        {"codes_in_use", (counts > 0).sum().item<int64_t>()},
                        {"perplexity", std::exp(-(p * (p + 1e-12).log()).sum().item<double>())}};
  if (all > labelled) out["pixels"] = pixels / (all - labelled);
  if (labelled == 0) return out;
  out["cells_named_by_code_alone"] = alone / labelled;
  out["cells_named_by_all_codes"] = name / labelled;
  out["parts_named_by_code_alone"] = part / labelled;
  out["background"] = background / labelled;
  return out;
}

// When codes begin to be used, and when the dead ones among them are moved.
struct CodeSchedule {
  int64_t soft_steps;  // without codes: features learn to name things before they are rounded
  int64_t settled;     // later restarts would move codes others have learned

  bool soft(int64_t step) const { return step < soft_steps; }
  bool restarts(int64_t step) const {
    if (step == soft_steps) return soft_steps > 0;
    return !soft(step) && step <= settled && step > 0 && step % 50 == 0;
  }
};

}  // namespace

void train_tokenizer(const StageOptions& options) {
  const Beginning beginning = begin_run("tokenizer", options);
  const TrainConfig& config = options.config;
  Preset preset = starting_preset(options);
  preset.preprocess.patch_size = preset.vision.patch_size;
  const DataSet data =
      open_data(options, beginning, preset, {.area = preset.picture_size, .synthetic = 8 * preset.synthetic_pictures});

  VisualTokenizer model(VisualTokenizerConfig{preset.vision, preset.vq});
  TokenizerHeads heads(preset.vision, preset.vq, world::class_count(), world::background_count());
  ParameterList trained;
  model.list(trained);
  const ParameterList kept = trained;
  heads.list(trained);
  init_parameters(trained, make_generator(derive_seed(config.seed, Stream::init, 0)));
  if (!options.init.empty()) {
    load_to_train(kept, init_part(options.init, "vision_language_encoder"),
                  {"model.language_model.", "lm_head."});  // the heads begin anew: no checkpoint has them
  }
  CodeHistory history(preset.vq);

  Run run(options, beginning,
          {.trained = trained,
           .buffers = history.buffers(),
           .stacks = {{"model.visual.blocks", &model.tower.listener}},
           .held_out = [&] { return held_out(model, heads, data, preset, config.tokenizer); }});
  // Codes of a checkpoint are used from the first step.
  const double soft_share = options.init.empty() ? config.tokenizer.soft_share : 0;
  const CodeSchedule codes{std::llround(soft_share * static_cast<double>(config.steps)), config.steps * 8 / 10};
  auto batches = run.prefetch<TokenizerBatch>([&](int64_t pass) {
    const Seen seen = pass % 4 == 3 ? Seen::draft : Seen::whole;
    return make_batch(data, without_padding(data.batch(pass)), preset, seen);
  });
  for (int64_t step = run.first_step(); run.running(step); ++step) {
    std::vector<at::Tensor> ids, features;  // of this process's passes
    nlohmann::json values = run.update(step, [&](int64_t) -> Pass {
      const TokenizerBatch batch = batches.next().to(options.device);
      const TokenizerLosses losses = tokenizer_losses(
          model, heads, batch,
          {.weights = config.tokenizer, .soft = codes.soft(step), .activations = activations_of(config)});
      ids.push_back(losses.ids);
      features.push_back(losses.z);
      return {.loss = losses.total,
              .values = {{"name_alone", losses.name_alone},
                         {"name", losses.name},
                         {"part_alone", losses.part_alone},
                         {"background", losses.background},
                         {"look", losses.look},
                         {"pixels", losses.pixels},
                         {"commit", losses.commit},
                         {"wait", batches.wait_share()}},
              .weight = static_cast<double>(batch.patches.size(0))};
    });
    history.add_all(run.of_all_passes(ids), run.of_all_passes(features));
    values["restarted"] = 0;
    if (codes.restarts(step)) {
      if (step == codes.soft_steps) history.uses.zero_();
      run.change_weights([&] {
        values["restarted"] = history.restart_dead_codes(
            model, make_generator(derive_seed(config.seed, Stream::codebook, static_cast<uint64_t>(step))));
      });
    }
    run.log(step, std::move(values));
    run.finish_step(step);
  }
  if (run.stopping()) return;
  run.apply_ema();
  run.note_held_out();
  finish_data(options, data);
  if (options.first()) export_part(options.out / "final", model.config.to_json(), kept, "model.safetensors");
}

}  // namespace glmimage::train
