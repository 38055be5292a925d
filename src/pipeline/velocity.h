#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>

#include "models/dit/model.h"
#include "models/layers/recompute.h"
#include "pipeline/denoise.h"

namespace glmimage {

// The velocity of every step of one request: v_u + guidance_scale·(v_c - v_u), or v_c alone. What does not change from
// step to step is computed once. Works under autograd: reinforcement learning takes the gradient of the very passes it
// drew with. The request must outlive this.
class Velocity {
 public:
  explicit Velocity(const DenoiseRequest& request, Activations activations = Activations::keep);
  // latents (B, C, h, w) float32, timestep: the schedule's label less 1 -> like latents
  at::Tensor operator()(int64_t step, const at::Tensor& latents, double timestep) const;

 private:
  at::Tensor pass(int64_t step, Branch branch, const at::Tensor& latents, const at::Tensor& t,
                  const DitPrepared& prepared, const ReferenceCache* references) const;
  at::Tensor guided(const at::Tensor& v, const at::Tensor& v_u) const;

  const DenoiseRequest& r_;
  Activations activations_;
  DitPrepared with_;
  std::optional<DitPrepared> without_, both_;
};

// A size or a crop as the transformer is told it: (1, 2) float32.
at::Tensor pixel_pair(int64_t first, int64_t second, at::Device device);

}  // namespace glmimage
