#pragma once

#include <ATen/core/Tensor.h>

#include "models/ar/config.h"

namespace glmimage {

// Cosines and sines for kernels::rope, with a dimension of one for the heads: (B, T, 1, rotary_dim/2).
struct Rope {
  at::Tensor cos, sin;
  // The entry of token t alone: a view, (B, 1, 1, rotary_dim/2).
  Rope at(int64_t t) const { return {cos.narrow(1, t, 1), sin.narrow(1, t, 1)}; }
};

// Multi-axis rope: frequency j turns with the position on one axis, by contiguous sections (temporal, height, width).
// positions (3, B, T) int64. Angles, cosines and sines are computed in float32 where `positions` lies and then given
// the type and device of `like`, as the reference does. Source: transformers, GlmImageTextRotaryEmbedding; M-RoPE:
// Qwen2-VL (Wang et al. 2024).
Rope mrope(const ArConfig& config, const at::Tensor& positions, const at::Tensor& like);

}  // namespace glmimage
