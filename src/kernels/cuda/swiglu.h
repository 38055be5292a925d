#pragma once

#include <ATen/core/Tensor.h>

// Contract of kernels/swiglu.h, for inference, in one pass over memory: dense, F a multiple of 16 bytes.
namespace glmimage::kernels::cuda {

bool can_gate(const at::Tensor& gate_up);
at::Tensor swiglu(const at::Tensor& gate_up);

}  // namespace glmimage::kernels::cuda
