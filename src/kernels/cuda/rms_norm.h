#pragma once

#include <ATen/core/Tensor.h>

#include "kernels/rms_norm.h"

// Contracts of kernels/rms_norm.h, for inference: each in one pass over memory. bfloat16, float16 or float32, all
// alike; rows on 16 bytes and a multiple of them, of at most 32 KB.
namespace glmimage::kernels::cuda {

bool can_norm(const at::Tensor& x, const at::Tensor& weight);
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps);

bool can_add_normed(const at::Tensor& x, const at::Tensor& update, const at::Tensor& weight);
at::Tensor add_normed(const at::Tensor& x, const at::Tensor& update, const at::Tensor& weight, double eps);

SumAndNormed add_normed_then_norm(const at::Tensor& x, const at::Tensor& update, const at::Tensor& weight,
                                  const at::Tensor& next_weight, double eps);

}  // namespace glmimage::kernels::cuda
