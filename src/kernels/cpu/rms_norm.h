#pragma once

#include <ATen/core/Tensor.h>

namespace glmimage::kernels::cpu {

// Whether the twin takes them: float32 on the processor, of fitting sizes.
bool can_norm(const at::Tensor& x, const at::Tensor& weight);

struct NormedRows {
  at::Tensor y;
  at::Tensor scale;  // one a row: 1 / its root mean square
};

// kernels::rms_norm in one pass, without a history of its own.
NormedRows rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps);

struct RmsNormGradients {
  at::Tensor x, weight;
};

// The gradients of x and weight from that of y, in one pass.
RmsNormGradients rms_norm_gradients(const at::Tensor& grad, const at::Tensor& x, const at::Tensor& weight,
                                    const at::Tensor& scale);

}  // namespace glmimage::kernels::cpu
