#pragma once

#include <ATen/core/Tensor.h>

namespace glmimage::kernels::cpu {

// Whether the twin takes it: float32 on the processor, two halves of equal width.
bool can_gate(const at::Tensor& gate_up);

// kernels::swiglu in one pass, without a history of its own.
at::Tensor swiglu(const at::Tensor& gate_up);

// The gradient of gate_up from that of the result, in one pass.
at::Tensor swiglu_gradient(const at::Tensor& grad, const at::Tensor& gate_up);

}  // namespace glmimage::kernels::cpu
