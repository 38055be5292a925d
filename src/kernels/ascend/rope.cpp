#include "kernels/ascend/rope.h"

#include <ATen/ops/cat.h>

#include "kernels/ascend/takes.h"
#include "kernels/device_operator.h"

namespace glmimage::kernels::ascend {
namespace {

// npu_rotary_mul(Tensor self, Tensor r1, Tensor r2, str rotary_mode='half', Tensor? rotate=None) -> Tensor:
// x · cos + cat(-x2, x1) · sin, over the whole last dimension. Has a gradient.
const DeviceOperator& op() {
  static const DeviceOperator found("npu::npu_rotary_mul", c10::DispatchKey::PrivateUse1);
  return found;
}

// (B or 1, T, 1, R): both halves turn by the same angles.
at::Tensor both_halves(const at::Tensor& half) {
  const at::Tensor of_samples = half.dim() == 3 ? half.unsqueeze(0) : half;
  return at::cat({of_samples, of_samples}, -1);
}

}  // namespace

bool can_turn(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin) {
  if (x.dim() != 4 || !is_float(x) || x.numel() == 0 || cos.sizes() != sin.sizes() || cos.dim() < 3 || cos.dim() > 4) {
    return false;
  }
  const int64_t rotary = 2 * cos.size(-1);
  const bool of_type = cos.scalar_type() == sin.scalar_type() &&
                       (cos.scalar_type() == x.scalar_type() || cos.scalar_type() == at::kFloat);
  const bool of_tokens = cos.size(-2) == 1 && cos.size(-3) == x.size(1) &&
                         (cos.dim() == 3 || cos.size(0) == 1 || cos.size(0) == x.size(0));
  return of_type && of_tokens && rotary > 0 && rotary <= x.size(-1) && rotary < 896 && x.size(0) < 1000 &&
         x.size(2) < 1000 && !asks_for_gradient({cos, sin}) && op().serves({x});
}

at::Tensor turn(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin) {
  const int64_t rotary = 2 * cos.size(-1), width = x.size(-1);
  // The operator would round cos and sin to x's type; our contract is to compute in theirs.
  const at::Tensor turning = x.narrow(-1, 0, rotary).to(cos.scalar_type()).contiguous();  // (B, T, H, R)
  const at::Tensor turned =
      op().call({{"self", turning}, {"r1", both_halves(cos)}, {"r2", both_halves(sin)}, {"rotary_mode", "half"}})[0].to(
          x.scalar_type());
  return rotary == width ? turned : at::cat({turned, x.narrow(-1, rotary, width - rotary)}, -1);
}

}  // namespace glmimage::kernels::ascend
