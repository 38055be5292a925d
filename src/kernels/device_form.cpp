#include "kernels/device_form.h"

#include "kernels/ascend/linear.h"
#include "kernels/cuda/linear.h"

namespace glmimage::kernels {

Quantised device_form(const Quantised& matrix, at::ScalarType type, Tokens tokens) {
  const auto& [q, scale] = matrix;
  if (q.device().is_privateuseone()) return {ascend::can_sign(q, scale, type) ? ascend::signed_halves(q) : q, scale};
  if (!q.device().is_cuda() || tokens == Tokens::many || type != at::kBFloat16) return matrix;
  return cuda::can_tile(q, scale) ? Quantised{cuda::tiles(q), cuda::with_zeros(scale)} : matrix;
}

at::Tensor device_scale(const at::Tensor& q, const at::Tensor& scale) {
  return q.scalar_type() == at::kInt && q.dim() == 4 ? cuda::with_zeros(scale) : scale;
}

at::Tensor file_form(const at::Tensor& q) { return q.dim() == 4 ? cuda::from_tiles(q) : ascend::from_signed_halves(q); }

}  // namespace glmimage::kernels
