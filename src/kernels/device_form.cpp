#include "kernels/device_form.h"

#include "kernels/ascend/linear.h"

namespace glmimage::kernels {

Quantised device_form(const Quantised& matrix, at::ScalarType type) {
  const auto& [q, scale] = matrix;
  return {q.device().is_privateuseone() && ascend::can_sign(q, scale, type) ? ascend::signed_halves(q) : q, scale};
}

at::Tensor file_form(const at::Tensor& q) { return ascend::from_signed_halves(q); }

}  // namespace glmimage::kernels
