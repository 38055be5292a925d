#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace glmimage::kernels::cpu {

// Whether the twins take these: float32 or bfloat16 on the processor, four dimensions, whose rows are (W, C) as in
// channels_last or W values of a channel, one behind the other. Rows themselves may lie anywhere.
bool can_group_norm(const at::Tensor& x, int64_t groups, const at::Tensor& weight, const at::Tensor& bias);
bool can_scale(const at::Tensor& x, const at::Tensor& factors);

// (2, B, C) float32, from sums in float64.
at::Tensor group_norm_factors(const at::Tensor& x, int64_t groups, const at::Tensor& weight, const at::Tensor& bias,
                              double eps);

// silu(x · factors[0] + factors[1]), dense, in x's layout.
at::Tensor scaled_silu(const at::Tensor& x, const at::Tensor& factors);

}  // namespace glmimage::kernels::cpu
