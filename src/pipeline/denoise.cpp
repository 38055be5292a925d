#include "pipeline/denoise.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>

#include "core/error.h"
#include "pipeline/velocity.h"

namespace glmimage {
namespace {

at::Tensor label(double timestep, const DitModel& model) {  // (1) float32
  return at::full({1}, timestep, at::TensorOptions().dtype(at::kFloat).device(model.device()));
}

void check_ids(const at::Tensor& ids, const DitModel& model) {
  const int64_t low = ids.min().item<int64_t>(), high = ids.max().item<int64_t>();
  if (low < 0 || high >= model.config.codes) {
    fail(ErrorKind::usage, "visual tokens should be 0 to ", model.config.codes - 1, ", but reach from ", low, " to ",
         high, "; do the language model and the transformer belong to one checkpoint?");
  }
}

}  // namespace

ReferenceCache encode_references(const DitModel& model, const std::vector<Reference>& references, Progress* progress) {
  ReferenceCache cache;
  const auto total = static_cast<int64_t>(references.size());
  for (int64_t i = 0; i < total; ++i) {
    step(progress, Stage::references, i, total);
    const Reference& reference = references[static_cast<size_t>(i)];
    const at::Tensor prior = upsample_to_prior(reference.tokens).to(model.device());  // (1, N)
    const int64_t p = model.config.patch_size;
    const Grid image = {reference.latents.size(2) / p, reference.latents.size(3) / p};
    if (Grid{2 * reference.tokens.grid.height, 2 * reference.tokens.grid.width} != image) {
      fail(ErrorKind::usage, "reference picture ", i + 1, ": ", reference.height, " x ", reference.width,
           " pixels (height x width) give ", image.height, " x ", image.width,
           " image tokens, but its visual tokens are ", reference.tokens.grid.height, " x ",
           reference.tokens.grid.width, " (expected half of that)");
    }
    check_ids(prior, model);
    const at::Tensor no_glyphs = at::zeros({1, 0, model.config.text_dim}, reference.latents.options());
    model.write_references({.latents = reference.latents,
                            .glyphs = no_glyphs,
                            .prior_ids = prior,
                            .timestep = label(0, model),  // not -1: the reference passes 0 here
                            .target_size = pixel_pair(reference.height, reference.width, model.device()),
                            .crop = pixel_pair(0, 0, model.device())},
                           cache);
  }
  if (total > 0) step(progress, Stage::references, total, total);
  return cache;
}

at::Tensor denoise(const DenoiseRequest& r) {
  const bool guided = r.guidance_scale > 1;
  if (guided && !r.negative_glyphs.defined()) fail(ErrorKind::internal, "denoise: guidance without negative glyphs");
  if (r.model.config.in_channels != r.model.config.out_channels) {
    fail(ErrorKind::checkpoint, "the transformer reads ", r.model.config.in_channels, " channels but writes ",
         r.model.config.out_channels, "; denoising needs them equal");
  }
  check_ids(r.prior_ids, r.model);
  const Velocity velocity(r);
  const at::Tensor sigmas = r.schedule.sigmas.cpu(), timesteps = r.schedule.timesteps.cpu();
  const auto sigma = sigmas.accessor<float, 1>();
  const int64_t steps = r.schedule.steps();
  at::Tensor latents = r.noise.to(at::kFloat);  // (B, C, height/8, width/8)
  for (int64_t i = 0; i < steps; ++i) {
    step(r.progress, Stage::denoise, i, steps);
    const at::Tensor v = velocity(i, latents, timesteps.accessor<float, 1>()[i] - 1);  // like latents
    if (r.preview) r.preview(i, latents - v * sigma[i]);
    latents = r.advance ? r.advance(i, latents, v) : latents + v * (sigma[i + 1] - sigma[i]);
  }
  step(r.progress, Stage::denoise, steps, steps);
  return latents;
}

}  // namespace glmimage
