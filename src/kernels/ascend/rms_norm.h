#pragma once

#include <ATen/core/Tensor.h>

namespace glmimage::kernels::ascend {

// npu_rms_norm: values and weights of one type, half, bfloat16 or float32; 2 to 8 dimensions, not empty. It multiplies
// by the weight before it rounds to the type, the composition after: one rounding less.
bool can_norm(const at::Tensor& x, const at::Tensor& weight);
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps);

}  // namespace glmimage::kernels::ascend
