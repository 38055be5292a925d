#include "kernels/swiglu.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/silu.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include "kernels/ascend/swiglu.h"
#include "kernels/cpu/swiglu.h"
#include "kernels/cuda/swiglu.h"
#include "kernels/schema.h"

namespace glmimage::kernels {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

at::Tensor composition(const at::Tensor& gate_up) {
  const int64_t width = gate_up.size(-1) / 2;
  return at::silu(gate_up.narrow(-1, 0, width)).mul(gate_up.narrow(-1, width, width));
}

class SwigluOnCpu : public torch::autograd::Function<SwigluOnCpu> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& gate_up) {
    context->save_for_backward({gate_up});
    return cpu::swiglu(gate_up);
  }
  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    refuse_second_derivative("swiglu");
    return {cpu::swiglu_gradient(grads[0], context->get_saved_variables()[0])};
  }
};

at::Tensor on_cpu(const at::Tensor& gate_up) {
  return cpu::can_gate(gate_up) ? cpu::swiglu(gate_up) : composition(gate_up);
}

at::Tensor on_cpu_with_gradient(const at::Tensor& gate_up) {
  return cpu::can_gate(gate_up) ? SwigluOnCpu::apply(gate_up) : composition(gate_up);
}

at::Tensor on_npu(const at::Tensor& gate_up) {
  return ascend::can_gate(gate_up) ? ascend::swiglu(gate_up) : composition(gate_up);
}

at::Tensor on_cuda(const at::Tensor& gate_up) {
  return cuda::can_gate(gate_up) ? cuda::swiglu(gate_up) : composition(gate_up);
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(glm_image, m) {
  m.def("swiglu(Tensor gate_up) -> Tensor");
  register_kernel(m, "swiglu", composition, on_cpu, on_cpu_with_gradient);
  register_on_device(m, "swiglu", c10::DispatchKey::PrivateUse1, on_npu);
  register_on_device(m, "swiglu", c10::DispatchKey::CUDA, on_cuda);
}

at::Tensor swiglu(const at::Tensor& gate_up) {
  static const auto op = find_operator<at::Tensor(const at::Tensor&)>("glm_image::swiglu");
  return op.call(gate_up);
}

}  // namespace glmimage::kernels
