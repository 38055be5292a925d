#include "kernels/modulation.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/addcmul.h>
#include <ATen/ops/alias.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/layer_norm.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <algorithm>
#include <initializer_list>
#include <tuple>

#include "kernels/cpu/modulation.h"
#include "kernels/cuda/modulation.h"
#include "kernels/schema.h"

namespace glmimage::kernels {
namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// What the twins take: runs of equal batch and width, and a factor for each sample or for all.
bool twin_takes(const Tensor& first, const Tensor& second, std::initializer_list<Tensor> factors) {
  const auto fits = [&](const Tensor& factor) {
    return cpu::can_modulate(factor) && (factor.size(0) == 1 || factor.size(0) == second.size(0)) &&
           factor.size(1) == 1 && factor.size(2) == second.size(2);
  };
  return cpu::can_modulate(first) && cpu::can_modulate(second) && first.size(0) == second.size(0) &&
         first.size(2) == second.size(2) && std::all_of(factors.begin(), factors.end(), fits);
}

bool holds_both(const Tensor& update, const Tensor& first, const Tensor& second) {
  return cpu::can_modulate(update) && update.size(0) == second.size(0) && update.size(2) == second.size(2) &&
         update.size(1) == first.size(1) + second.size(1);
}

// A factor for every sample of the batch; the gradient sums over samples that share it.
Tensor for_batch(const Tensor& factor, const Tensor& tokens) { return factor.expand({tokens.size(0), 1, -1}); }

Tensor norm_composition(const Tensor& first, const Tensor& first_shift, const Tensor& first_scale, const Tensor& second,
                        const Tensor& shift, const Tensor& scale, double eps) {
  const auto modulate = [&](const Tensor& x, const Tensor& by, const Tensor& times) {
    return at::addcmul(by, at::layer_norm(x, {x.size(-1)}, {}, {}, eps), 1 + times);
  };
  const Tensor rest = modulate(second, shift, scale);
  return first.size(1) == 0 ? rest : at::cat({modulate(first, first_shift, first_scale), rest}, 1);
}

struct Normed {
  Tensor joint, stats;
};

Normed norm_both(const Tensor& first, const Tensor& first_shift, const Tensor& first_scale, const Tensor& second,
                 const Tensor& shift, const Tensor& scale, double eps) {
  const int64_t batch = second.size(0), split = first.size(1), all = split + second.size(1);
  Normed out{at::empty({batch, all, second.size(2)}, second.options()), at::empty({batch, all, 2}, second.options())};
  if (split > 0) cpu::modulated_norm({first}, first_shift, first_scale, eps, out.joint, out.stats);
  cpu::modulated_norm({second, split}, shift, scale, eps, out.joint, out.stats);
  return out;
}

class ModulatedNormOnCpu : public torch::autograd::Function<ModulatedNormOnCpu> {
 public:
  static Tensor forward(AutogradContext* context, const Tensor& first, const Tensor& first_shift,
                        const Tensor& first_scale, const Tensor& second, const Tensor& shift, const Tensor& scale,
                        double eps) {
    const Normed out = norm_both(first, first_shift, first_scale, second, shift, scale, eps);
    context->save_for_backward({first, first_scale, second, scale, out.stats});
    return out.joint;
  }
  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    refuse_second_derivative("modulation");
    const variable_list saved = context->get_saved_variables();
    const Tensor grad = grads[0].contiguous();
    const int64_t split = saved[0].size(1);
    cpu::ModulationGradients first, second;
    if (split > 0) first = cpu::modulated_norm_gradients({saved[0]}, saved[1], saved[4], grad);
    second = cpu::modulated_norm_gradients({saved[2], split}, saved[3], saved[4], grad);
    return {first.x, first.shift, first.scale, second.x, second.shift, second.scale, {}};
  }
};

Tensor norm_on_cpu(const Tensor& first, const Tensor& first_shift, const Tensor& first_scale, const Tensor& second,
                   const Tensor& shift, const Tensor& scale, double eps) {
  if (!twin_takes(first, second, {first_shift, first_scale, shift, scale})) {
    return norm_composition(first, first_shift, first_scale, second, shift, scale, eps);
  }
  return norm_both(first, for_batch(first_shift, first), for_batch(first_scale, first), second,
                   for_batch(shift, second), for_batch(scale, second), eps)
      .joint;
}

Tensor norm_on_cpu_with_gradient(const Tensor& first, const Tensor& first_shift, const Tensor& first_scale,
                                 const Tensor& second, const Tensor& shift, const Tensor& scale, double eps) {
  if (!twin_takes(first, second, {first_shift, first_scale, shift, scale})) {
    return norm_composition(first, first_shift, first_scale, second, shift, scale, eps);
  }
  return ModulatedNormOnCpu::apply(first, for_batch(first_shift, first), for_batch(first_scale, first), second,
                                   for_batch(shift, second), for_batch(scale, second), eps);
}

using TwoTensors = std::tuple<Tensor, Tensor>;

TwoTensors gated_composition(const Tensor& first, const Tensor& first_gate, const Tensor& second, const Tensor& gate,
                             const Tensor& update) {
  const int64_t split = first.size(1);
  return {split == 0 ? first.alias() : at::addcmul(first, first_gate, update.narrow(1, 0, split)),
          at::addcmul(second, gate, update.narrow(1, split, second.size(1)))};
}

TwoTensors add_both(const Tensor& first, const Tensor& first_gate, const Tensor& second, const Tensor& gate,
                    const Tensor& update) {
  return {cpu::gated_residual({first}, first_gate, update), cpu::gated_residual({second, first.size(1)}, gate, update)};
}

class GatedResidualOnCpu : public torch::autograd::Function<GatedResidualOnCpu> {
 public:
  static variable_list forward(AutogradContext* context, const Tensor& first, const Tensor& first_gate,
                               const Tensor& second, const Tensor& gate, const Tensor& update) {
    context->save_for_backward({first_gate, gate, update});
    const auto [before, after] = add_both(first, first_gate, second, gate, update);
    return {before, after};
  }
  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    refuse_second_derivative("modulation");
    const variable_list saved = context->get_saved_variables();
    const Tensor &first_gate = saved[0], &gate = saved[1], &update = saved[2];
    const Tensor first = grads[0].contiguous(), second = grads[1].contiguous();
    const int64_t split = first.size(1);
    Tensor update_grad = at::empty(update.sizes(), update.options()), first_gate_grad;
    if (split > 0) first_gate_grad = cpu::gated_residual_gradients({first}, first_gate, update, update_grad);
    const Tensor gate_grad = cpu::gated_residual_gradients({second, split}, gate, update, update_grad);
    return {first, first_gate_grad, second, gate_grad, update_grad};
  }
};

TwoTensors gated_on_cpu(const Tensor& first, const Tensor& first_gate, const Tensor& second, const Tensor& gate,
                        const Tensor& update) {
  if (!twin_takes(first, second, {first_gate, gate}) || !holds_both(update, first, second)) {
    return gated_composition(first, first_gate, second, gate, update);
  }
  return add_both(first, for_batch(first_gate, first), second, for_batch(gate, second), update);
}

TwoTensors gated_on_cpu_with_gradient(const Tensor& first, const Tensor& first_gate, const Tensor& second,
                                      const Tensor& gate, const Tensor& update) {
  if (!twin_takes(first, second, {first_gate, gate}) || !holds_both(update, first, second)) {
    return gated_composition(first, first_gate, second, gate, update);
  }
  const variable_list out =
      GatedResidualOnCpu::apply(first, for_batch(first_gate, first), second, for_batch(gate, second), update);
  return {out[0], out[1]};
}

// No tokens in front of x.
Tensor none_before(const Tensor& x) { return x.new_empty({x.size(0), 0, x.size(2)}); }

Tensor norm_on_cuda(const Tensor& first, const Tensor& first_shift, const Tensor& first_scale, const Tensor& second,
                    const Tensor& shift, const Tensor& scale, double eps) {
  const Modulated before{first, first_shift, first_scale}, after{second, shift, scale};
  return cuda::can_norm(before, after) ? cuda::modulated_norm(before, after, eps)
                                       : norm_composition(first, first_shift, first_scale, second, shift, scale, eps);
}

TwoTensors gated_on_cuda(const Tensor& first, const Tensor& first_gate, const Tensor& second, const Tensor& gate,
                         const Tensor& update) {
  const Gated before{first, first_gate}, after{second, gate};
  if (!cuda::can_add(before, after, update)) return gated_composition(first, first_gate, second, gate, update);
  const TokenPair out = cuda::gated_residual(before, after, update);
  return {out.first, out.second};
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(glm_image, m) {
  m.def(
      "modulated_norm(Tensor first, Tensor first_shift, Tensor first_scale, Tensor second, Tensor shift, Tensor scale, "
      "float eps) -> Tensor");
  register_kernel(m, "modulated_norm", norm_composition, norm_on_cpu, norm_on_cpu_with_gradient);
  register_on_device(m, "modulated_norm", c10::DispatchKey::CUDA, norm_on_cuda);
  m.def(
      "gated_residual(Tensor first, Tensor first_gate, Tensor second, Tensor gate, Tensor update) -> (Tensor, Tensor)");
  register_kernel(m, "gated_residual", gated_composition, gated_on_cpu, gated_on_cpu_with_gradient);
  register_on_device(m, "gated_residual", c10::DispatchKey::CUDA, gated_on_cuda);
}

Tensor modulated_norm(const Modulated& first, const Modulated& second, double eps) {
  static const auto op = find_operator<Tensor(const Tensor&, const Tensor&, const Tensor&, const Tensor&, const Tensor&,
                                              const Tensor&, double)>("glm_image::modulated_norm");
  return op.call(first.tokens, first.shift, first.scale, second.tokens, second.shift, second.scale, eps);
}

Tensor modulated_norm(const Modulated& run, double eps) {
  return modulated_norm({none_before(run.tokens), run.shift, run.scale}, run, eps);
}

TokenPair gated_residual(const Gated& first, const Gated& second, const Tensor& update) {
  static const auto op =
      find_operator<TwoTensors(const Tensor&, const Tensor&, const Tensor&, const Tensor&, const Tensor&)>(
          "glm_image::gated_residual");
  auto [before, after] = op.call(first.tokens, first.gate, second.tokens, second.gate, update);
  return {before, after};
}

Tensor gated_residual(const Gated& run, const Tensor& update) {
  return gated_residual({none_before(run.tokens), run.gate}, run, update).second;
}

}  // namespace glmimage::kernels
