#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

// Contracts of kernels/rope.h, for inference, in one pass over memory. x (B, T, H, D), D dense and at most 256; tables
// (B or 1, T, 1, R/2), of x's type or float32.
namespace glmimage::kernels::cuda {

bool can_turn(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin);
// eps: of a layer norm over D before the turn; unset: none. -> dense
at::Tensor turn(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin, std::optional<double> eps);

}  // namespace glmimage::kernels::cuda
