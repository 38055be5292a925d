#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

// Many tokens times a matrix of 8 bits with one scale a row ("W8A8"): each token is rounded to 8 bits as well, the
// products are taken as bytes and added as integers, twice as fast as those of bfloat16 (docs/performance.md).
namespace glmimage::kernels::cpu {

// x (…, in) float32 or bfloat16, q (out, in) int8, scale (out, 1), bias (out) of x's type; on a processor that
// multiplies bytes.
bool can_round_tokens(const at::Tensor& x, const at::Tensor& q, const at::Tensor& scale,
                      const std::optional<at::Tensor>& bias);

// -> (…, out) like x. A token's scale is its largest value / 127; a token with a value that is no number, or infinite,
// gives rows that are no numbers.
at::Tensor rounded_linear(const at::Tensor& x, const at::Tensor& q, const at::Tensor& scale,
                          const std::optional<at::Tensor>& bias);

}  // namespace glmimage::kernels::cpu
