#pragma once

#include <ATen/core/Tensor.h>

namespace glmimage::kernels::cpu {

// What every twin here takes.
inline bool is_float_on_cpu(const at::Tensor& tensor) {
  return tensor.device().is_cpu() && tensor.scalar_type() == at::kFloat;
}

}  // namespace glmimage::kernels::cpu
