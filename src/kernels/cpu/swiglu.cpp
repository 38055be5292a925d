#include "kernels/cpu/swiglu.h"

#include <ATen/ops/empty.h>

#include <vector>

#include "kernels/cpu/exponential.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/simd.h"
#include "kernels/cpu/takes.h"

namespace glmimage::kernels::cpu {
namespace {

GLM_IMAGE_CLONES void gate_row(const float* gate, const float* up, float* y, int64_t width) {
#pragma omp simd
  for (int64_t i = 0; i < width; ++i) y[i] = gate[i] / (1 + exponential_for_sigmoid(-gate[i])) * up[i];
}

GLM_IMAGE_CLONES void gate_row_back(const float* grad, const float* gate, const float* up, float* gate_grad,
                                    float* up_grad, int64_t width) {
#pragma omp simd
  for (int64_t i = 0; i < width; ++i) {
    const float sigmoid = 1 / (1 + exponential_for_sigmoid(-gate[i])), silu = gate[i] * sigmoid;
    up_grad[i] = grad[i] * silu;
    gate_grad[i] = grad[i] * up[i] * (sigmoid + silu * (1 - sigmoid));
  }
}

}  // namespace

bool can_gate(const at::Tensor& gate_up) {
  return is_float_on_cpu(gate_up) && gate_up.dim() >= 1 && gate_up.size(-1) % 2 == 0;
}

at::Tensor swiglu(const at::Tensor& gate_up) {
  const at::Tensor rows = gate_up.contiguous();
  const int64_t width = rows.size(-1) / 2, count = rows.numel() / std::max<int64_t>(1, 2 * width);
  std::vector<int64_t> shape = rows.sizes().vec();
  shape.back() = width;
  at::Tensor y = at::empty(shape, rows.options());
  const float* from = rows.const_data_ptr<float>();
  float* to = y.mutable_data_ptr<float>();
  parallel_rows(count, 2 * width, [&](int64_t row, int64_t last) {
    for (; row < last; ++row) gate_row(from + 2 * row * width, from + (2 * row + 1) * width, to + row * width, width);
  });
  return y;
}

at::Tensor swiglu_gradient(const at::Tensor& grad, const at::Tensor& gate_up) {
  const at::Tensor rows = gate_up.contiguous(), grads = grad.contiguous();
  const int64_t width = grads.size(-1), count = grads.numel() / std::max<int64_t>(1, width);
  at::Tensor out = at::empty(rows.sizes(), rows.options());
  const float *from = rows.const_data_ptr<float>(), *by = grads.const_data_ptr<float>();
  float* to = out.mutable_data_ptr<float>();
  parallel_rows(count, 3 * width, [&](int64_t row, int64_t last) {
    for (; row < last; ++row) {
      const int64_t gate = 2 * row * width, up = gate + width;
      gate_row_back(by + row * width, from + gate, from + up, to + gate, to + up, width);
    }
  });
  return out;
}

}  // namespace glmimage::kernels::cpu
