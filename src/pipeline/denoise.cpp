#include "pipeline/denoise.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <cstdlib>
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

// Predicts the velocity of every step of one request.
class Velocity {
 public:
  explicit Velocity(const DenoiseRequest& r) : r_(r), with_(r.model.prepare(conditions(r, r.glyphs))) {
    if (r.guidance_scale <= 1) return;
    without_ = unconditional(r);
    const int64_t batch = r.noise.size(0);
    // Together the two passes read the weights once, and pad one of them where its glyphs are fewer. Many tokens fill
    // the processor by themselves and would only take twice the memory.
    const int64_t padding = std::abs(with_.glyphs.size(1) - without_->glyphs.size(1));
    const bool referred = r.references && !r.references->empty();  // by the conditional pass alone
    const bool alike = !referred && !r.cache && r.model.device().is_cpu();
    if (alike && batch * with_.grid.count() <= kFewTokens && 4 * padding <= with_.grid.count()) {
      both_ = DitPrepared::pair(with_, *without_, batch);
    }
  }

  // latents (B, C, h, w) float32 -> like latents
  at::Tensor operator()(int64_t step, const at::Tensor& latents, double timestep) const {
    const at::Tensor t = label(timestep, r_.model);
    if (both_) {
      const std::vector<at::Tensor> v = r_.model.step(at::cat({latents, latents}), t, *both_).to(at::kFloat).chunk(2);
      return guided(v[0], v[1]);
    }
    const at::Tensor v = pass(step, Branch::conditional, latents, t, with_, r_.references);
    return without_ ? guided(v, pass(step, Branch::unconditional, latents, t, *without_, nullptr)) : v;
  }

 private:
  // Image tokens of a pass: 1.07 times as fast with 256, no faster with 1,024.
  static constexpr int64_t kFewTokens = 512;

  at::Tensor pass(int64_t step, Branch branch, const at::Tensor& latents, const at::Tensor& t,
                  const DitPrepared& prepared, const ReferenceCache* references) const {
    BlockCache* blocks = r_.cache ? r_.cache->pass(step, branch) : nullptr;
    return r_.model.step(latents, t, prepared, {.references = references, .blocks = blocks}).to(at::kFloat);
  }
  at::Tensor guided(const at::Tensor& v, const at::Tensor& v_u) const { return v_u + (v - v_u) * r_.guidance_scale; }

  const DenoiseRequest& r_;
  DitPrepared with_;
  std::optional<DitPrepared> without_, both_;
};

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
  const Velocity velocity(r);
  const at::Tensor sigmas = r.schedule.sigmas.cpu(), timesteps = r.schedule.timesteps.cpu();
  const auto sigma = sigmas.accessor<float, 1>();
  const int64_t steps = r.schedule.steps();
  at::Tensor latents = r.noise.to(at::kFloat);  // (B, C, height/8, width/8)
  for (int64_t i = 0; i < steps; ++i) {
    step(r.progress, Stage::denoise, i, steps);
    const at::Tensor v = velocity(i, latents, timesteps.accessor<float, 1>()[i] - 1);  // like latents
    if (r.preview) r.preview(i, latents - v * sigma[i]);
    latents = latents + v * (sigma[i + 1] - sigma[i]);
  }
  step(r.progress, Stage::denoise, steps, steps);
  return latents;
}

}  // namespace glmimage
