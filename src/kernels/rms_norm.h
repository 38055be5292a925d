#pragma once

#include <ATen/core/Tensor.h>

namespace glmimage::kernels {

// Root mean square norm over the last dimension: x (…, C), weight (C) of any float type, same device -> like x.
// The mean is taken in float32 (of float64 in float64), the result cast to x's type and then multiplied by the weight
// (Zhang and Sennrich 2019; the order of the cast follows transformers' T5LayerNorm and GlmImageRMSNorm). A device's
// fused operator may multiply before it casts.
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps);

// x + rms_norm(update, weight): x and update (…, C), alike.
at::Tensor add_normed(const at::Tensor& x, const at::Tensor& update, const at::Tensor& weight, double eps);

struct SumAndNormed {
  at::Tensor sum, normed;
};
// The same sum, and rms_norm(sum, next_weight).
SumAndNormed add_normed_then_norm(const at::Tensor& x, const at::Tensor& update, const at::Tensor& weight,
                                  const at::Tensor& next_weight, double eps);

}  // namespace glmimage::kernels
