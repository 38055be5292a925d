#include "kernels/group_norm.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/var_mean.h>
#include <c10/core/ScalarType.h>
#include <torch/library.h>

#include <algorithm>
#include <initializer_list>

#include "kernels/cpu/group_norm.h"
#include "kernels/schema.h"

namespace glmimage::kernels {
namespace {

at::Tensor factors_composition(const at::Tensor& x, int64_t groups, const at::Tensor& weight, const at::Tensor& bias,
                               double eps) {
  const at::ScalarType wide = c10::promoteTypes(x.scalar_type(), at::kFloat);
  const int64_t batch = x.size(0), channels = x.size(1);
  const at::Tensor grouped = x.to(wide).reshape({batch, groups, -1});                        // (B, G, C/G·H·W)
  const auto [var, mean] = at::var_mean(grouped, {-1}, /*correction=*/0, /*keepdim=*/true);  // (B, G, 1) each
  const at::Tensor factor = at::rsqrt(var + eps) * weight.to(wide).view({1, groups, -1});    // (B, G, C/G)
  const at::Tensor added = bias.to(wide).view({1, groups, -1}) - mean * factor;
  return at::stack({factor.reshape({batch, channels}), added.reshape({batch, channels})});
}

at::Tensor silu_composition(const at::Tensor& x, const at::Tensor& factors) {
  const at::Tensor each = factors.unsqueeze(-1).unsqueeze(-1);     // (2, B, C, 1, 1)
  at::Tensor y = (x * each.select(0, 0)).add_(each.select(0, 1));  // large: in place where no gradient needs it
  y = (y.requires_grad() ? at::silu(y) : at::silu_(y)).to(x.scalar_type());
  return y.contiguous(x.suggest_memory_format());
}

at::Tensor factors_on_cpu(const at::Tensor& x, int64_t groups, const at::Tensor& weight, const at::Tensor& bias,
                          double eps) {
  return cpu::can_group_norm(x, groups, weight, bias) ? cpu::group_norm_factors(x, groups, weight, bias, eps)
                                                      : factors_composition(x, groups, weight, bias, eps);
}

at::Tensor silu_on_cpu(const at::Tensor& x, const at::Tensor& factors) {
  return cpu::can_scale(x, factors) ? cpu::scaled_silu(x, factors) : silu_composition(x, factors);
}

// The twins have no gradients: they serve drawing, and the VAE trains through ATen's group_norm.
bool needs_gradient(std::initializer_list<at::Tensor> operands) {
  return at::GradMode::is_enabled() &&
         std::any_of(operands.begin(), operands.end(), [](const at::Tensor& t) { return t.requires_grad(); });
}

at::Tensor factors_with_gradient(const at::Tensor& x, int64_t groups, const at::Tensor& weight, const at::Tensor& bias,
                                 double eps) {
  return needs_gradient({x, weight, bias}) ? factors_composition(x, groups, weight, bias, eps)
                                           : factors_on_cpu(x, groups, weight, bias, eps);
}

at::Tensor silu_with_gradient(const at::Tensor& x, const at::Tensor& factors) {
  return needs_gradient({x, factors}) ? silu_composition(x, factors) : silu_on_cpu(x, factors);
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(glm_image, m) {
  m.def("group_norm_factors(Tensor x, int groups, Tensor weight, Tensor bias, float eps) -> Tensor");
  m.def("scaled_silu(Tensor x, Tensor factors) -> Tensor");
  register_kernel(m, "group_norm_factors", factors_composition, factors_on_cpu, factors_with_gradient);
  register_kernel(m, "scaled_silu", silu_composition, silu_on_cpu, silu_with_gradient);
}

at::Tensor group_norm_factors(const at::Tensor& x, int64_t groups, const at::Tensor& weight, const at::Tensor& bias,
                              double eps) {
  using Signature = at::Tensor(const at::Tensor&, int64_t, const at::Tensor&, const at::Tensor&, double);
  static const auto op = find_operator<Signature>("glm_image::group_norm_factors");
  return op.call(x, groups, weight, bias, eps);
}

at::Tensor scaled_silu(const at::Tensor& x, const at::Tensor& factors) {
  static const auto op = find_operator<at::Tensor(const at::Tensor&, const at::Tensor&)>("glm_image::scaled_silu");
  return op.call(x, factors);
}

}  // namespace glmimage::kernels
