#pragma once

#include <ATen/core/Tensor.h>

#include "kernels/modulation.h"

// Contracts of kernels/modulation.h, for inference, in one pass over memory each: the last dimension dense, rows and
// strides on 16 bytes, of at most 32 KB.
namespace glmimage::kernels::cuda {

bool can_norm(const Modulated& first, const Modulated& second);
at::Tensor modulated_norm(const Modulated& first, const Modulated& second, double eps);

bool can_add(const Gated& first, const Gated& second, const at::Tensor& update);
TokenPair gated_residual(const Gated& first, const Gated& second, const at::Tensor& update);

}  // namespace glmimage::kernels::cuda
