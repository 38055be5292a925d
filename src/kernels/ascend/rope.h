#pragma once

#include <ATen/core/Tensor.h>

namespace glmimage::kernels::ascend {

// npu_rotary_mul in the layout (B, T, H, D): fewer than 1,000 samples and heads, fewer than 896 dims that turn, their
// number even; cos and sin (B or 1, T, 1, R/2) or (T, 1, R/2) of x's type, or float32, in which x is then turned. cos
// and sin take no gradient.
bool can_turn(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin);
at::Tensor turn(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin);

}  // namespace glmimage::kernels::ascend
