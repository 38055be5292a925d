#pragma once

#include <ATen/core/Tensor.h>

namespace glmimage::kernels {

// GELU by its tanh formula, x/2 · (1 + tanh(√(2/π)·(x + 0.044715·x³))), of any float type and device. Hendrycks and
// Gimpel 2016.
at::Tensor gelu_tanh(const at::Tensor& x);

}  // namespace glmimage::kernels
