#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/mean.h>
#include <ATen/ops/mse_loss.h>

#include <cmath>

#include "core/rng.h"
#include "models/vae/vae.h"
#include "train/data/prefetch.h"
#include "train/data/world_batches.h"
#include "train/losses/vae_loss.h"
#include "train/presets.h"
#include "train/run.h"
#include "train/stages/export.h"
#include "train/stages/stages.h"

namespace glmimage::train {
namespace {

// Mean and standard deviation of every latent channel over whole pictures; the DiT works on latents so normalised.
void measure_latents(Vae& vae, const world::World& world, uint64_t seed) {
  at::NoGradGuard no_grad;
  std::vector<at::Tensor> means;
  for (int64_t step = 0; step < 16; ++step) {
    std::vector<Image> images;
    for (const auto& scene : sample_scenes(world, seed, Stream::held_out, step, 16))
      images.push_back(world.render(scene));
    means.push_back(vae.encode(vae_pixels(images)).mean.transpose(0, 1).flatten(1));  // (C, B·h·w)
  }
  const at::Tensor all = at::cat(means, 1);  // (C, n)
  for (int64_t c = 0; c < all.size(0); ++c) {
    vae.config.latents_mean[static_cast<size_t>(c)] = all[c].mean().item<double>();
    vae.config.latents_std[static_cast<size_t>(c)] = all[c].std().item<double>();
  }
}

// Reconstruction of pictures the training has not seen, in dB.
double held_out_psnr(const Vae& vae, const world::World& world, uint64_t seed) {
  at::NoGradGuard no_grad;
  double squared = 0;
  constexpr int64_t kBatches = 4;
  for (int64_t step = 0; step < kBatches; ++step) {
    std::vector<Image> images;
    for (const auto& scene : sample_scenes(world, seed, Stream::held_out, 100 + step, 16))
      images.push_back(world.render(scene));
    const at::Tensor pixels = vae_pixels(images);
    squared += at::mse_loss(vae.decode(vae.encode(pixels).mean).clamp(-1, 1), pixels).item<double>() / kBatches;
  }
  return -10 * std::log10(squared / 4);
}

}  // namespace

void train_vae(const StageOptions& options) {
  const Beginning beginning = begin_run("vae", options);
  const Preset preset = find_preset(options.config.preset);
  const world::World world = world::World::open({.size = preset.picture_size, .languages = preset.languages});
  Vae vae(preset.vae);
  ParameterList trained;
  vae.list(trained);
  init_parameters(trained, make_generator(derive_seed(options.config.seed, Stream::init, 0)));

  const uint64_t seed = options.config.seed;
  Run run(options, beginning, {.trained = trained, .held_out = [&]() -> nlohmann::json {
                                 return {{"psnr", held_out_psnr(vae, world, seed)}};
                               }});
  Prefetch<at::Tensor> batches(
      [&](int64_t pass) {
        const auto scenes = sample_scenes(world, seed, Stream::data, pass, options.config.batch);
        const uint64_t crop_seed = derive_seed(seed, Stream::drop, static_cast<uint64_t>(pass));
        return vae_pixels(random_crops(world, scenes, preset.picture_size / 2, crop_seed));
      },
      run.first_pass(), run.end_pass());
  for (int64_t step = run.first_step(); run.running(step); ++step) {
    run.log(step, run.update(step, [&](int64_t pass) -> Pass {
      const at::Tensor pixels = batches.next();  // (B, 3, crop, crop)
      const VaeLosses losses =
          vae_losses(vae, pixels, make_generator(derive_seed(seed, Stream::noise, static_cast<uint64_t>(pass))));
      return {.loss = losses.total,
              .values = {{"l1", losses.l1.item<double>()}, {"kl", losses.kl.item<double>()}, {"psnr", losses.psnr}}};
    }));
    run.finish_step(step);
  }
  if (run.stopping()) return;
  run.apply_ema();
  measure_latents(vae, world, seed);
  run.note({{"held_out_psnr", held_out_psnr(vae, world, seed)}});
  export_model(options.out / "final" / "vae", vae.config.to_json(), vae);
}

}  // namespace glmimage::train
