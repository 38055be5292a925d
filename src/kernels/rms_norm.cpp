#include "kernels/rms_norm.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/mean.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/rsqrt.h>

namespace glmimage::kernels {

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  at::Tensor wide = x.to(at::kFloat);                                                 // (…, C)
  at::Tensor scale = at::rsqrt(at::mean(wide * wide, {-1}, /*keepdim=*/true) + eps);  // (…, 1)
  return weight * (wide * scale).to(x.scalar_type());
}

}  // namespace glmimage::kernels
