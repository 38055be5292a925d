#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "core/parameters.h"
#include "models/layers/layers.h"

namespace glmimage {

// [cos(v·f) ‖ sin(v·f)] with f_k = exp(-ln(10000)·k/(features/2)); values (…) of any type -> (…, features) float32.
// Reference: diffusers, Timesteps(flip_sin_to_cos=True, downscale_freq_shift=0).
at::Tensor sinusoid(const at::Tensor& values, int64_t features);

// linear_1 -> silu -> linear_2.
struct ConditionMlp {
  ConditionMlp() = default;
  ConditionMlp(int64_t in, int64_t out) : linear_1(in, out, Bias::yes), linear_2(out, out, Bias::yes) {}
  void list(ParameterList& list, const std::string& prefix);
  at::Tensor operator()(const at::Tensor& x) const;  // (B, in) -> (B, out)

  Linear linear_1, linear_2;
};

// The vector e that every block's modulation reads: e = silu(MLPt(time) + MLPc(crop, size)).
// Reference: diffusers, GlmImageCombinedTimestepSizeEmbeddings.
struct TimeConditionEmbed {
  TimeConditionEmbed() = default;
  TimeConditionEmbed(int64_t time_dim, int64_t condition_dim)
      : time_dim(time_dim),
        condition_dim(condition_dim),
        timestep_embedder(time_dim, time_dim),
        condition_embedder(4 * condition_dim, time_dim) {}
  void list(ParameterList& list, const std::string& prefix);

  // target_size (B, 2) = (height, width) and crop (B, 2) = (top, left), in pixels, float32 -> (B, T). The same in every
  // step of a request.
  at::Tensor embed_size(const at::Tensor& target_size, const at::Tensor& crop) const;
  // timestep (B) float, the label as it is (no scaling); size (B or 1, T) from embed_size -> e (B, T).
  at::Tensor operator()(const at::Tensor& timestep, const at::Tensor& size) const;

  int64_t time_dim = 0, condition_dim = 0;
  ConditionMlp timestep_embedder, condition_embedder;
};

}  // namespace glmimage
