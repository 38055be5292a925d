#include "train/stages/flow_model.h"

#include "core/error.h"
#include "core/rng.h"
#include "models/lora/lora.h"
#include "train/random.h"
#include "train/stages/export.h"
#include "train/stages/positional_heads.h"
#include "train/stages/starting_point.h"

namespace glmimage::train {
namespace fs = std::filesystem;

namespace {

bool trains_glyphs(const TrainConfig& config) { return config.dit.train_text_encoder && config.lora.rank == 0; }

}  // namespace

std::unique_ptr<StartedFlowModel> start_flow_model(const StageOptions& options, const Preset& preset) {
  const TrainConfig& config = options.config;
  const bool adapter = config.lora.rank > 0, train_glyphs = trains_glyphs(config);
  std::unique_ptr<StartedFlowModel> started(
      new StartedFlowModel{{DitModel(preset.dit), GlyphEncoder(preset.glyph)}, {}});
  FlowModel& model = started->model;
  ParameterList dit, glyph;
  model.dit.list(dit);
  if (options.init.empty() && !config.dit.train_text_encoder) {
    fail(ErrorKind::usage,
         "dit.train_text_encoder=false leaves the text encoder as it is in --init, and there is none");
  }
  if (config.dit.new_glyph_attention && (options.init.empty() || !train_glyphs)) {
    fail(ErrorKind::usage, "dit.new_glyph_attention begins a part of the glyph encoder in --init anew, and ",
         options.init.empty() ? "there is none" : "that does not learn");
  }
  if (options.init.empty()) {
    model.glyph.list(glyph);
    ParameterList all = dit;
    all.insert(all.end(), glyph.begin(), glyph.end());
    init_parameters(all, make_generator(derive_seed(config.seed, Stream::init, 0)));
    look_at_neighbours(model.dit);
    read_in_columns(model.dit, model.glyph);
  } else {
    // GlyphEncoder's own door: its table has two names.
    model.glyph = GlyphEncoder::open(init_part(options.init, "text_encoder"), frozen_placement(options));
    model.glyph.list(glyph);
    for (const Parameter& p : glyph) {
      if (train_glyphs) *p.tensor = p.tensor->to(at::kFloat).clone();
    }
    if (config.dit.new_glyph_attention) {
      begin_attention_anew(model.glyph, make_generator(derive_seed(config.seed, Stream::init, 2)));
    }
    const fs::path transformer = init_part(options.init, "transformer");
    if (adapter) {
      load_parameters(dit, WeightFiles::open(transformer), frozen_placement(options));
    } else {
      load_to_train(dit, transformer);
    }
  }
  if (adapter) begin_adapter(options, dit, {"attn1.to_q", "attn1.to_k", "attn1.to_v", "attn1.to_out.0"});
  started->trained = trained_parameters(model, config);
  if (config.dit.glyph_place > 0) {
    if (!train_glyphs) {
      fail(ErrorKind::usage, "dit.glyph_place asks glyphs for their places, and the glyph encoder does not learn ",
           adapter ? "while an adapter is trained" : "(dit.train_text_encoder=false)");
    }
    model.glyph_places = GlyphPlaceHeads(model.glyph.config.width);
    ParameterList heads;
    model.glyph_places.list(heads);
    init_parameters(heads, make_generator(derive_seed(config.seed, Stream::init, 1)));
    started->trained.insert(started->trained.end(), heads.begin(), heads.end());
  }
  return started;
}

ParameterList trained_parameters(FlowModel& model, const TrainConfig& config) {
  ParameterList list;
  model.dit.list(list);
  if (config.lora.rank > 0) return lora_parameters(list);
  if (trains_glyphs(config)) model.glyph.list(list);
  return list;
}

void export_flow_model(const StageOptions& options, FlowModel& model) {
  const fs::path folder = options.out / "final";
  if (options.config.lora.rank > 0) {
    ParameterList list;
    model.dit.list(list);
    fs::create_directories(folder);
    return write_lora(folder / "adapter.safetensors", {.dit = &list});
  }
  export_model(folder / "transformer", model.dit.config.to_json(), model.dit);
  export_model(folder / "text_encoder", model.glyph.config.to_json(), model.glyph, "model.safetensors");
}

}  // namespace glmimage::train
