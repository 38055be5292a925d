#include "kernels/ascend/swiglu.h"

#include "kernels/ascend/takes.h"
#include "kernels/device_operator.h"

namespace glmimage::kernels::ascend {
namespace {

// npu_swiglu(Tensor self, int dim=-1) -> Tensor: silu of the first half times the second. Has a gradient.
const DeviceOperator& op() {
  static const DeviceOperator found("npu::npu_swiglu", c10::DispatchKey::PrivateUse1);
  return found;
}

}  // namespace

bool can_gate(const at::Tensor& gate_up) {
  return is_float(gate_up) && gate_up.dim() >= 1 && gate_up.dim() <= 8 && gate_up.numel() > 0 &&
         gate_up.size(-1) % 2 == 0 && gate_up.is_contiguous() && op().serves({gate_up});
}

at::Tensor swiglu(const at::Tensor& gate_up) { return op().call({{"self", gate_up}, {"dim", int64_t{-1}}})[0]; }

}  // namespace glmimage::kernels::ascend
