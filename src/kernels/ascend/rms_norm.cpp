#include "kernels/ascend/rms_norm.h"

#include "kernels/ascend/takes.h"
#include "kernels/device_operator.h"

namespace glmimage::kernels::ascend {
namespace {

// npu_rms_norm(Tensor self, Tensor gamma, float epsilon=1e-06) -> (Tensor, Tensor): y and 1/rms. Has a gradient.
const DeviceOperator& op() {
  static const DeviceOperator found("npu::npu_rms_norm", c10::DispatchKey::PrivateUse1);
  return found;
}

}  // namespace

bool can_norm(const at::Tensor& x, const at::Tensor& weight) {
  return is_float(x) && weight.scalar_type() == x.scalar_type() && x.dim() >= 2 && x.dim() <= 8 && x.numel() > 0 &&
         weight.dim() == 1 && weight.size(0) == x.size(-1) && op().serves({x, weight});
}

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  return op().call({{"self", x}, {"gamma", weight}, {"epsilon", eps}})[0];
}

}  // namespace glmimage::kernels::ascend
