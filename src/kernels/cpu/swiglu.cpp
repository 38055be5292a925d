#include "kernels/cpu/swiglu.h"

#include <ATen/ops/empty.h>

#include <bit>
#include <cstdint>
#include <vector>

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/simd.h"

namespace glmimage::kernels::cpu {
namespace {

// e^x to about two units in the last place, in operations that compilers turn into vector instructions; std::exp is a
// call for each value. x = n·ln 2 + r with |r| <= ln 2 / 2, e^r by the polynomial of Cephes' expf (Moshier 1992).
inline float exponential(float x) {
  x = x < -87.0F ? -87.0F : x > 87.0F ? 87.0F : x;  // the sigmoid is 0 or 1 there, to float32
  const float shifted = x * 1.44269504F + 12582912.0F;  // 1.5·2^23: rounds to the nearest whole number
  const float n = shifted - 12582912.0F;
  const float r = (x - n * 0.693359375F) + n * 2.12194440e-4F;  // ln 2 in two pieces
  float p = 1.9875691500e-4F;
  p = p * r + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  p = p * r * r + r + 1.0F;
  return p * std::bit_cast<float>((static_cast<int32_t>(n) + 127) << 23);
}

GLM_IMAGE_CLONES void gate_row(const float* gate, const float* up, float* y, int64_t width) {
#pragma omp simd
  for (int64_t i = 0; i < width; ++i) y[i] = gate[i] / (1 + exponential(-gate[i])) * up[i];
}

GLM_IMAGE_CLONES void gate_row_back(const float* grad, const float* gate, const float* up, float* gate_grad,
                                    float* up_grad, int64_t width) {
#pragma omp simd
  for (int64_t i = 0; i < width; ++i) {
    const float sigmoid = 1 / (1 + exponential(-gate[i])), silu = gate[i] * sigmoid;
    up_grad[i] = grad[i] * silu;
    gate_grad[i] = grad[i] * up[i] * (sigmoid + silu * (1 - sigmoid));
  }
}

}  // namespace

bool can_gate(const at::Tensor& gate_up) { return gate_up.device().is_cpu() && gate_up.scalar_type() == at::kFloat; }

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
