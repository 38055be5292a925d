#pragma once

#include <ATen/core/Tensor.h>

namespace glmimage::kernels::ascend {

// npu_swiglu: half, bfloat16 or float32; 1 to 8 dimensions, values behind each other, not empty.
bool can_gate(const at::Tensor& gate_up);
at::Tensor swiglu(const at::Tensor& gate_up);

}  // namespace glmimage::kernels::ascend
