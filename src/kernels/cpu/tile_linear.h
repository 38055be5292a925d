#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

// Products of float32 matrices with sixteen tokens and more. A library copies both operands into an order of its own
// before it multiplies; with some tens of tokens the copies take as long as the rest. Here the rows of the matrix are
// laid side by side sixteen at a time, in the nearest cache, where they serve all tokens. No gradients: whoever wants
// them takes the composition.
namespace glmimage::kernels::cpu {

// float32, on a processor on which it was measured faster than LibTorch's product (AMD with AVX-512), and rows enough
// for every thread.
bool can_tile(const at::Tensor& x, const at::Tensor& weight, const std::optional<at::Tensor>& bias);
// x (…, in), weight (out, in), bias (out) -> (…, out). Each value is summed in the order of `in`, whatever the number
// of tokens and threads.
at::Tensor tile_linear(const at::Tensor& x, const at::Tensor& weight, const std::optional<at::Tensor>& bias);

}  // namespace glmimage::kernels::cpu
