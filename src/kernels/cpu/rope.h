#pragma once

#include <ATen/core/Tensor.h>

namespace glmimage::kernels::cpu {

// Whether `turn` takes them: float32 on the processor, x (B, T, H, D) with neighbouring values side by side, no
// gradient of the angles.
bool can_turn(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin);

// kernels::rope in one pass, or with `back` its inverse, which is its gradient. Without a history of its own. The
// result is contiguous.
at::Tensor turn(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin, bool back);

}  // namespace glmimage::kernels::cpu
