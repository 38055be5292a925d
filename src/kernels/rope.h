#pragma once

#include <ATen/core/Tensor.h>

namespace glmimage::kernels {

// Rotary position embedding, half/half pairing: the first R dims of each head turn in pairs (i, i + R/2), the rest
// pass. x (…, T, H, D) or any shape whose last dimension is D; cos, sin (…, R/2) broadcast against x's leading
// dimensions. Computed in cos's type (float32 for exactness, or x's own type), the result has x's type. Su et al. 2021
// (RoFormer); pairing as in GPT-NeoX.
at::Tensor rope(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin);

// The same of every head after a layer norm without weights over D.
at::Tensor normed_rope(const at::Tensor& x, double eps, const at::Tensor& cos, const at::Tensor& sin);

}  // namespace glmimage::kernels
