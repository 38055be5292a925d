#include "kernels/rope.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/layer_norm.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include "kernels/ascend/rope.h"
#include "kernels/cpu/rope.h"
#include "kernels/cuda/rope.h"
#include "kernels/schema.h"

namespace glmimage::kernels {
namespace {

at::Tensor composition(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin) {
  const int64_t half = cos.size(-1), rotary = 2 * half, width = x.size(-1);
  at::Tensor first = x.narrow(-1, 0, half).to(cos.scalar_type());      // (…, R/2)
  at::Tensor second = x.narrow(-1, half, half).to(cos.scalar_type());  // (…, R/2)
  at::Tensor y1 = (first * cos - second * sin).to(x.scalar_type());
  at::Tensor y2 = (second * cos + first * sin).to(x.scalar_type());
  if (rotary == width) return at::cat({y1, y2}, -1);
  return at::cat({y1, y2, x.narrow(-1, rotary, width - rotary)}, -1);
}

class RopeOnCpu : public torch::autograd::Function<RopeOnCpu> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x, const at::Tensor& cos,
                            const at::Tensor& sin) {
    context->save_for_backward({cos, sin});
    return cpu::turn(x, cos, sin, /*back=*/false);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& grads) {
    refuse_second_derivative("rope");
    const torch::autograd::variable_list saved = context->get_saved_variables();
    const at::Tensor grad = grads[0].stride(-1) == 1 ? grads[0] : grads[0].contiguous();
    return {cpu::turn(grad, saved[0], saved[1], /*back=*/true), {}, {}};
  }
};

at::Tensor on_cpu(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin) {
  return cpu::can_turn(x, cos, sin) ? cpu::turn(x, cos, sin, /*back=*/false) : composition(x, cos, sin);
}

at::Tensor on_cpu_with_gradient(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin) {
  return cpu::can_turn(x, cos, sin) ? RopeOnCpu::apply(x, cos, sin) : composition(x, cos, sin);
}

at::Tensor on_npu(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin) {
  return ascend::can_turn(x, cos, sin) ? ascend::turn(x, cos, sin) : composition(x, cos, sin);
}

at::Tensor on_cuda(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin) {
  return cuda::can_turn(x, cos, sin) ? cuda::turn(x, cos, sin, std::nullopt) : composition(x, cos, sin);
}

at::Tensor normed_composition(const at::Tensor& x, double eps, const at::Tensor& cos, const at::Tensor& sin) {
  return rope(at::layer_norm(x, {x.size(-1)}, {}, {}, eps), cos, sin);
}

at::Tensor normed_on_cuda(const at::Tensor& x, double eps, const at::Tensor& cos, const at::Tensor& sin) {
  return cuda::can_turn(x, cos, sin) ? cuda::turn(x, cos, sin, eps) : normed_composition(x, eps, cos, sin);
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(glm_image, m) {
  m.def("rope(Tensor x, Tensor cos, Tensor sin) -> Tensor");
  register_kernel(m, "rope", composition, on_cpu, on_cpu_with_gradient);
  register_on_device(m, "rope", c10::DispatchKey::PrivateUse1, on_npu);
  register_on_device(m, "rope", c10::DispatchKey::CUDA, on_cuda);
  m.def("normed_rope(Tensor x, float eps, Tensor cos, Tensor sin) -> Tensor");
  m.impl("normed_rope", c10::DispatchKey::CompositeImplicitAutograd, normed_composition);
  register_on_device(m, "normed_rope", c10::DispatchKey::CUDA, normed_on_cuda);
}

at::Tensor rope(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin) {
  static const auto op =
      find_operator<at::Tensor(const at::Tensor&, const at::Tensor&, const at::Tensor&)>("glm_image::rope");
  return op.call(x, cos, sin);
}

at::Tensor normed_rope(const at::Tensor& x, double eps, const at::Tensor& cos, const at::Tensor& sin) {
  static const auto op = find_operator<at::Tensor(const at::Tensor&, double, const at::Tensor&, const at::Tensor&)>(
      "glm_image::normed_rope");
  return op.call(x, eps, cos, sin);
}

}  // namespace glmimage::kernels
