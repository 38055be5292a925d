#include "core/rng.h"
#include "models/dit/model.h"
#include "models/glyph/encoder.h"
#include "train/data/corpus.h"
#include "train/losses/flow_loss.h"
#include "train/presets.h"
#include "train/random.h"
#include "train/stages/export.h"
#include "train/stages/positional_heads.h"
#include "train/stages/stages.h"

namespace glmimage::train {
void train_dit(const StageOptions& options) {
  const Preset preset = find_preset(options.preset);
  const world::World world = world::World::open({.size = preset.picture_size});
  const Corpus corpus = Corpus::build(world, preset, options, CorpusParts::latents);

  FlowModel model{DitModel(preset.dit), GlyphEncoder(preset.glyph)};
  ParameterList trained;
  model.dit.list(trained);
  ParameterList glyph_list;
  model.glyph.list(glyph_list);
  trained.insert(trained.end(), glyph_list.begin(), glyph_list.end());
  init_parameters(trained, make_generator(derive_seed(options.run.seed, Stream::init, 0)));
  look_at_neighbours(model.dit);

  Run run("dit", options.run, trained);
  for (int64_t step = run.first_step(); run.running(step); ++step) {
    const CorpusBatch batch = corpus.batch(options.run.seed, step, options.run.batch);
    at::Generator noise = make_generator(derive_seed(options.run.seed, Stream::noise, static_cast<uint64_t>(step)));
    const at::Tensor loss = flow_loss(model, batch, world.size(), noise);
    run.optimise(step, loss);
    run.log(step, {{"loss", loss.item<double>()}});
    run.save_when_due(step);
  }
  if (run.stopping()) return;
  run.apply_ema();
  export_model(options.run.out / "final" / "transformer", preset.dit.to_json(), model.dit);
  export_model(options.run.out / "final" / "text_encoder", preset.glyph.to_json(), model.glyph, "model.safetensors");
}

}  // namespace glmimage::train
