#include "pipeline/denoise.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <optional>

#include "core/error.h"

namespace glmimage {
namespace {

at::Tensor pair(int64_t first, int64_t second, at::Device device) {  // (1, 2) float32
  const std::vector<double> values = {static_cast<double>(first), static_cast<double>(second)};
  return at::tensor(values, at::TensorOptions().dtype(at::kFloat)).unsqueeze(0).to(device);
}

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

// What stays the same in every step of one branch.
DitInput conditions(const DenoiseRequest& r, const at::Tensor& glyphs) {
  const at::Device device = r.model.device();
  return {.latents = r.noise,
          .glyphs = glyphs,
          .prior_ids = r.prior_ids,
          .timestep = {},
          .target_size = pair(r.height, r.width, device),
          .crop = pair(r.crop_top, r.crop_left, device)};
}

DitPrepared unconditional(const DenoiseRequest& r) {
  DitInput input = conditions(r, r.negative_glyphs);
  input.prior_drop = at::ones({1}, at::TensorOptions().dtype(at::kBool).device(r.model.device()));
  return r.model.prepare(input);
}

BlockCache* cached(const DenoiseRequest& r, int64_t step, Branch branch) {
  return r.cache ? r.cache->pass(step, branch) : nullptr;
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
                            .target_size = pair(reference.height, reference.width, model.device()),
                            .crop = pair(0, 0, model.device())},
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
  const DitPrepared with = r.model.prepare(conditions(r, r.glyphs));
  std::optional<DitPrepared> without;
  if (guided) without = unconditional(r);

  const at::Tensor sigmas = r.schedule.sigmas.cpu(), timesteps = r.schedule.timesteps.cpu();
  const auto sigma = sigmas.accessor<float, 1>();
  const int64_t steps = r.schedule.steps();
  at::Tensor latents = r.noise.to(at::kFloat);  // (B, C, height/8, width/8)
  for (int64_t i = 0; i < steps; ++i) {
    step(r.progress, Stage::denoise, i, steps);
    const at::Tensor timestep = label(timesteps.accessor<float, 1>()[i] - 1, r.model);
    at::Tensor v =
        r.model.step(latents, timestep, with, {.references = r.references, .blocks = cached(r, i, Branch::conditional)})
            .to(at::kFloat);  // like latents
    if (guided) {
      const at::Tensor v_u =
          r.model.step(latents, timestep, *without, {.blocks = cached(r, i, Branch::unconditional)}).to(at::kFloat);
      v = v_u + (v - v_u) * r.guidance_scale;
    }
    if (r.preview) r.preview(i, latents - v * sigma[i]);
    latents = latents + v * (sigma[i + 1] - sigma[i]);
  }
  step(r.progress, Stage::denoise, steps, steps);
  return latents;
}

}  // namespace glmimage
