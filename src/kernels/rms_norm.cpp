#include "kernels/rms_norm.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/mean.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/rsqrt.h>
#include <c10/core/ScalarType.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include "kernels/ascend/rms_norm.h"
#include "kernels/cpu/rms_norm.h"
#include "kernels/cuda/rms_norm.h"
#include "kernels/schema.h"

namespace glmimage::kernels {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

at::Tensor composition(const at::Tensor& x, const at::Tensor& weight, double eps) {
  at::Tensor wide = x.to(c10::promoteTypes(x.scalar_type(), at::kFloat));             // (…, C)
  at::Tensor scale = at::rsqrt(at::mean(wide * wide, {-1}, /*keepdim=*/true) + eps);  // (…, 1)
  return weight * (wide * scale).to(x.scalar_type());
}

class RmsNormOnCpu : public torch::autograd::Function<RmsNormOnCpu> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight, double eps) {
    const cpu::NormedRows out = cpu::rms_norm(x, weight, eps);
    context->save_for_backward({x, weight, out.scale});
    return out.y;
  }
  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    refuse_second_derivative("rms_norm");
    const variable_list saved = context->get_saved_variables();
    const cpu::RmsNormGradients out = cpu::rms_norm_gradients(grads[0], saved[0], saved[1], saved[2]);
    return {out.x, out.weight, {}};
  }
};

at::Tensor on_cpu(const at::Tensor& x, const at::Tensor& weight, double eps) {
  return cpu::can_norm(x, weight) ? cpu::rms_norm(x, weight, eps).y : composition(x, weight, eps);
}

at::Tensor on_cpu_with_gradient(const at::Tensor& x, const at::Tensor& weight, double eps) {
  return cpu::can_norm(x, weight) ? RmsNormOnCpu::apply(x, weight, eps) : composition(x, weight, eps);
}

at::Tensor on_npu(const at::Tensor& x, const at::Tensor& weight, double eps) {
  return ascend::can_norm(x, weight) ? ascend::rms_norm(x, weight, eps) : composition(x, weight, eps);
}

at::Tensor on_cuda(const at::Tensor& x, const at::Tensor& weight, double eps) {
  return cuda::can_norm(x, weight) ? cuda::rms_norm(x, weight, eps) : composition(x, weight, eps);
}

at::Tensor add_composition(const at::Tensor& x, const at::Tensor& update, const at::Tensor& weight, double eps) {
  return x.add(rms_norm(update, weight, eps));
}

at::Tensor add_on_cuda(const at::Tensor& x, const at::Tensor& update, const at::Tensor& weight, double eps) {
  return cuda::can_add_normed(x, update, weight) ? cuda::add_normed(x, update, weight, eps)
                                                 : add_composition(x, update, weight, eps);
}

using TwoTensors = std::tuple<at::Tensor, at::Tensor>;

TwoTensors add_then_norm_composition(const at::Tensor& x, const at::Tensor& update, const at::Tensor& weight,
                                     const at::Tensor& next_weight, double eps) {
  const at::Tensor sum = add_composition(x, update, weight, eps);
  return {sum, rms_norm(sum, next_weight, eps)};
}

TwoTensors add_then_norm_on_cuda(const at::Tensor& x, const at::Tensor& update, const at::Tensor& weight,
                                 const at::Tensor& next_weight, double eps) {
  if (!cuda::can_add_normed(x, update, weight) || !cuda::can_norm(x, next_weight)) {
    return add_then_norm_composition(x, update, weight, next_weight, eps);
  }
  const auto [sum, normed] = cuda::add_normed_then_norm(x, update, weight, next_weight, eps);
  return {sum, normed};
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(glm_image, m) {
  m.def("rms_norm(Tensor x, Tensor weight, float eps) -> Tensor");
  register_kernel(m, "rms_norm", composition, on_cpu, on_cpu_with_gradient);
  register_on_device(m, "rms_norm", c10::DispatchKey::PrivateUse1, on_npu);
  register_on_device(m, "rms_norm", c10::DispatchKey::CUDA, on_cuda);
  m.def("add_normed(Tensor x, Tensor update, Tensor weight, float eps) -> Tensor");
  m.impl("add_normed", c10::DispatchKey::CompositeImplicitAutograd, add_composition);
  register_on_device(m, "add_normed", c10::DispatchKey::CUDA, add_on_cuda);
  m.def(
      "add_normed_then_norm(Tensor x, Tensor update, Tensor weight, Tensor next_weight, float eps) -> (Tensor, "
      "Tensor)");
  m.impl("add_normed_then_norm", c10::DispatchKey::CompositeImplicitAutograd, add_then_norm_composition);
  register_on_device(m, "add_normed_then_norm", c10::DispatchKey::CUDA, add_then_norm_on_cuda);
}

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  static const auto op = find_operator<at::Tensor(const at::Tensor&, const at::Tensor&, double)>("glm_image::rms_norm");
  return op.call(x, weight, eps);
}

at::Tensor add_normed(const at::Tensor& x, const at::Tensor& update, const at::Tensor& weight, double eps) {
  static const auto op = find_operator<at::Tensor(const at::Tensor&, const at::Tensor&, const at::Tensor&, double)>(
      "glm_image::add_normed");
  return op.call(x, update, weight, eps);
}

SumAndNormed add_normed_then_norm(const at::Tensor& x, const at::Tensor& update, const at::Tensor& weight,
                                  const at::Tensor& next_weight, double eps) {
  static const auto op =
      find_operator<TwoTensors(const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&, double)>(
          "glm_image::add_normed_then_norm");
  auto [sum, normed] = op.call(x, update, weight, next_weight, eps);
  return {sum, normed};
}

}  // namespace glmimage::kernels
