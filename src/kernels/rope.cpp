#include "kernels/rope.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>

namespace glmimage::kernels {

at::Tensor rope(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin) {
  const int64_t half = cos.size(-1), rotary = 2 * half, width = x.size(-1);
  at::Tensor first = x.narrow(-1, 0, half).to(cos.scalar_type());      // (…, R/2)
  at::Tensor second = x.narrow(-1, half, half).to(cos.scalar_type());  // (…, R/2)
  at::Tensor y1 = (first * cos - second * sin).to(x.scalar_type());
  at::Tensor y2 = (second * cos + first * sin).to(x.scalar_type());
  if (rotary == width) return at::cat({y1, y2}, -1);
  return at::cat({y1, y2, x.narrow(-1, rotary, width - rotary)}, -1);
}

}  // namespace glmimage::kernels
