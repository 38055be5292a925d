#include "pipeline/velocity.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>

#include <cstdlib>

namespace glmimage {
namespace {

// Image tokens of a pass: 1.07 times as fast with 256, no faster with 1,024.
constexpr int64_t kFewTokens = 512;

// What stays the same in every step of one branch.
DitInput conditions(const DenoiseRequest& r, const at::Tensor& glyphs, const at::Tensor& glyph_mask) {
  const at::Device device = r.model.device();
  return {.latents = r.noise,
          .glyphs = glyphs,
          .glyph_mask = glyph_mask,
          .prior_ids = r.prior_ids,
          .timestep = {},
          .target_size = pixel_pair(r.height, r.width, device),
          .crop = pixel_pair(r.crop_top, r.crop_left, device)};
}

DitPrepared unconditional(const DenoiseRequest& r) {
  DitInput input = conditions(r, r.negative_glyphs, {});
  input.prior_drop = at::ones({1}, at::TensorOptions().dtype(at::kBool).device(r.model.device()));
  return r.model.prepare(input);
}

}  // namespace

at::Tensor pixel_pair(int64_t first, int64_t second, at::Device device) {
  const std::vector<double> values = {static_cast<double>(first), static_cast<double>(second)};
  return at::tensor(values, at::TensorOptions().dtype(at::kFloat)).unsqueeze(0).to(device);
}

Velocity::Velocity(const DenoiseRequest& r, Activations activations)
    : r_(r), activations_(activations), with_(r.model.prepare(conditions(r, r.glyphs, r.glyph_mask))) {
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

at::Tensor Velocity::operator()(int64_t step, const at::Tensor& latents, double timestep) const {
  const at::Tensor t = at::full({1}, timestep, at::TensorOptions().dtype(at::kFloat).device(r_.model.device()));  // (1)
  if (both_) {
    const at::Tensor twice = at::cat({latents, latents});
    const std::vector<at::Tensor> v =
        r_.model.step(twice, t, *both_, {.activations = activations_}).to(at::kFloat).chunk(2);
    return guided(v[0], v[1]);
  }
  const at::Tensor v = pass(step, Branch::conditional, latents, t, with_, r_.references);
  return without_ ? guided(v, pass(step, Branch::unconditional, latents, t, *without_, nullptr)) : v;
}

at::Tensor Velocity::pass(int64_t step, Branch branch, const at::Tensor& latents, const at::Tensor& t,
                          const DitPrepared& prepared, const ReferenceCache* references) const {
  BlockCache* blocks = r_.cache ? r_.cache->pass(step, branch) : nullptr;
  return r_.model.step(latents, t, prepared, {.references = references, .blocks = blocks, .activations = activations_})
      .to(at::kFloat);
}

at::Tensor Velocity::guided(const at::Tensor& v, const at::Tensor& v_u) const {
  return v_u + (v - v_u) * r_.guidance_scale;
}

}  // namespace glmimage
