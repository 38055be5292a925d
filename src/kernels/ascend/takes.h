#pragma once

#include <ATen/core/Tensor.h>

// Schemas and limits of Ascend's operators are those of torch_npu v2.11.0-26.1.0, that is github.com/Ascend/op-plugin,
// branch 26.1.0 (commit 09024aa): op_plugin/config/op_plugin_functions.yaml, formulas for gradients in derivatives.yaml
// beside it, limits in docs/en/custom_APIs/torch_npu/*<operator>.md ("Constraints").
namespace glmimage::kernels::ascend {

// The types fused operators compute in.
inline bool is_float(const at::Tensor& x) {
  return x.scalar_type() == at::kBFloat16 || x.scalar_type() == at::kHalf || x.scalar_type() == at::kFloat;
}

inline bool is_half(const at::Tensor& x) { return x.scalar_type() == at::kBFloat16 || x.scalar_type() == at::kHalf; }

}  // namespace glmimage::kernels::ascend
