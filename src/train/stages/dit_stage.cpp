#include "core/rng.h"
#include "models/dit/model.h"
#include "models/glyph/encoder.h"
#include "train/data/corpus.h"
#include "train/losses/flow_loss.h"
#include "train/presets.h"
#include "train/random.h"
#include "train/run.h"
#include "train/stages/export.h"
#include "train/stages/positional_heads.h"
#include "train/stages/stages.h"

namespace glmimage::train {

void train_dit(const StageOptions& options) {
  const Beginning beginning = begin_run("dit", options);
  const Preset preset = find_preset(options.config.preset);
  const world::World world = world::World::open({.size = preset.picture_size, .languages = preset.languages});
  const Corpus corpus = Corpus::build(world, preset, options, CorpusParts::latents);

  FlowModel model{DitModel(preset.dit), GlyphEncoder(preset.glyph)};
  ParameterList trained;
  model.list(trained);
  init_parameters(trained, make_generator(derive_seed(options.config.seed, Stream::init, 0)));
  look_at_neighbours(model.dit);
  read_in_columns(model.dit, model.glyph);

  Run run(options, beginning, {.trained = trained});
  for (int64_t step = run.first_step(); run.running(step); ++step) {
    run.log(step, run.update(step, [&](int64_t pass) -> Pass {
      const CorpusBatch batch = corpus.batch(options.config.seed, pass, options.config.batch);
      at::Generator noise =
          make_generator(derive_seed(options.config.seed, Stream::noise, static_cast<uint64_t>(pass)));
      return {.loss = flow_loss(model, batch, world.size(), noise, activations_of(options.config))};
    }));
    run.finish_step(step);
  }
  if (run.stopping()) return;
  run.apply_ema();
  export_model(options.out / "final" / "transformer", preset.dit.to_json(), model.dit);
  export_model(options.out / "final" / "text_encoder", preset.glyph.to_json(), model.glyph, "model.safetensors");
}

}  // namespace glmimage::train
