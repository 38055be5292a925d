#include "kernels/cuda/swiglu.h"

#include <ATen/ops/empty.h>

#include <vector>

#include "kernels/cuda/arguments.h"
#include "kernels/cuda/runtime.h"

namespace glmimage::kernels::cuda {
namespace {

constexpr Kernel kSwiglu{"rope", "swiglu"};
constexpr int kThreads = 256;

}  // namespace

bool can_gate(const at::Tensor& gate_up) {
  return gate_up.numel() > 0 && serves({gate_up}) && gate_up.is_contiguous() && in_chunks(gate_up) &&
         gate_up.size(-1) / 2 * static_cast<int64_t>(gate_up.element_size()) % 16 == 0;
}

at::Tensor swiglu(const at::Tensor& gate_up) {
  std::vector<int64_t> shape = gate_up.sizes().vec();
  shape.back() /= 2;
  const at::Tensor y = at::empty(shape, gate_up.options());
  const SwigluArguments arguments{.gate_up = gate_up.const_data_ptr(),
                                  .y = y.mutable_data_ptr(),
                                  .rows = y.numel() / shape.back(),
                                  .width = static_cast<int>(shape.back())};
  const int64_t chunks = y.numel() * static_cast<int64_t>(y.element_size()) / 16;
  const Launch launch{
      .device = y.device(), .type = y.scalar_type(), .blocks = (chunks + kThreads - 1) / kThreads, .threads = kThreads};
  runtime().start(kSwiglu, launch, &arguments);
  return y;
}

}  // namespace glmimage::kernels::cuda
