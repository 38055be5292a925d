#include "kernels/gelu.h"

#include <ATen/ops/gelu.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include "kernels/cpu/gelu.h"
#include "kernels/schema.h"

namespace glmimage::kernels {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

at::Tensor composition(const at::Tensor& x) { return at::gelu(x, "tanh"); }

class GeluOnCpu : public torch::autograd::Function<GeluOnCpu> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x) {
    context->save_for_backward({x});
    return cpu::gelu_tanh(x);
  }
  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    refuse_second_derivative("gelu_tanh");
    return {cpu::gelu_tanh_gradient(grads[0], context->get_saved_variables()[0])};
  }
};

at::Tensor on_cpu(const at::Tensor& x) { return cpu::can_gelu(x) ? cpu::gelu_tanh(x) : composition(x); }

at::Tensor on_cpu_with_gradient(const at::Tensor& x) { return cpu::can_gelu(x) ? GeluOnCpu::apply(x) : composition(x); }

}  // namespace

TORCH_LIBRARY_FRAGMENT(glm_image, m) {
  m.def("gelu_tanh(Tensor x) -> Tensor");
  register_kernel(m, "gelu_tanh", composition, on_cpu, on_cpu_with_gradient);
}

at::Tensor gelu_tanh(const at::Tensor& x) {
  static const auto op = find_operator<at::Tensor(const at::Tensor&)>("glm_image::gelu_tanh");
  return op.call(x);
}

}  // namespace glmimage::kernels
