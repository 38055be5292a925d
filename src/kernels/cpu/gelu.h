#pragma once

#include <ATen/core/Tensor.h>

namespace glmimage::kernels::cpu {

// Whether the twin takes it: float32 on the processor.
bool can_gelu(const at::Tensor& x);

// kernels::gelu_tanh, without a history of its own.
at::Tensor gelu_tanh(const at::Tensor& x);

// The gradient of x from that of the result.
at::Tensor gelu_tanh_gradient(const at::Tensor& grad, const at::Tensor& x);

}  // namespace glmimage::kernels::cpu
