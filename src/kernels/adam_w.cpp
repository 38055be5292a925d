#include "kernels/adam_w.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_add.h>
#include <ATen/ops/_foreach_addcdiv.h>
#include <ATen/ops/_foreach_addcmul.h>
#include <ATen/ops/_foreach_div.h>
#include <ATen/ops/_foreach_lerp.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_neg.h>
#include <ATen/ops/_foreach_pow.h>
#include <ATen/ops/_foreach_sqrt.h>
#include <ATen/ops/_fused_adamw.h>

#include "core/error.h"
#include "kernels/device_operator.h"

namespace glmimage::kernels {
namespace {

// aten::_fused_adamw_, one operator for all parameters. CPUs and CUDA have it in LibTorch; Ascend's comes with
// torch_npu (op_plugin/ops/opapi/FusedAdamWKernelNpuOpApi.cpp), which ignores grad_scale and found_inf. Where a device
// has none, LibTorch would fetch all weights to the host and compute there.
bool has_fused(const at::Device& device) {
  if (device.is_cpu()) return true;
  return DeviceOperator("aten::_fused_adamw_", c10::computeDispatchKey(std::nullopt, std::nullopt, device)).serves({});
}

// 1 - beta^t for each parameter, on the device.
std::vector<at::Tensor> bias_corrections(double beta, const std::vector<at::Tensor>& steps) {
  std::vector<at::Tensor> out = at::_foreach_pow(beta, steps);
  at::_foreach_neg_(out);
  at::_foreach_add_(out, 1);
  return out;
}

void composition(const AdamWTensors& t, const AdamWStep& s) {
  if (s.weight_decay != 0) at::_foreach_mul_(t.parameters, 1 - s.lr * s.weight_decay);
  at::_foreach_lerp_(t.exp_avgs, t.gradients, 1 - s.beta1);
  at::_foreach_mul_(t.exp_avg_sqs, s.beta2);
  at::_foreach_addcmul_(t.exp_avg_sqs, t.gradients, t.gradients, 1 - s.beta2);

  std::vector<at::Tensor> roots = at::_foreach_sqrt(t.exp_avg_sqs);
  std::vector<at::Tensor> second = bias_corrections(s.beta2, t.steps);
  at::_foreach_sqrt_(second);
  at::_foreach_div_(roots, second);
  at::_foreach_add_(roots, s.eps);
  at::_foreach_mul_(roots, bias_corrections(s.beta1, t.steps));
  at::_foreach_addcdiv_(t.parameters, t.exp_avgs, roots, -s.lr);
}

}  // namespace

void adam_w(const AdamWTensors& t, const AdamWStep& s) {
  const size_t count = t.parameters.size();
  if (t.gradients.size() != count || t.exp_avgs.size() != count || t.exp_avg_sqs.size() != count ||
      t.steps.size() != count) {
    fail(ErrorKind::internal, "adam_w: ", count, " parameters, ", t.gradients.size(), " gradients, ", t.exp_avgs.size(),
         " and ", t.exp_avg_sqs.size(), " moments, ", t.steps.size(), " steps");
  }
  if (count == 0) return;
  const at::NoGradGuard no_grad;
  if (has_fused(t.parameters[0].device())) {
    at::_fused_adamw_(t.parameters, t.gradients, t.exp_avgs, t.exp_avg_sqs, /*max_exp_avg_sqs=*/{}, t.steps, s.lr,
                      s.beta1, s.beta2, s.weight_decay, s.eps, /*amsgrad=*/false, /*maximize=*/false);
  } else {
    composition(t, s);
  }
}

}  // namespace glmimage::kernels
