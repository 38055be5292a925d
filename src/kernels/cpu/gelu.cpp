#include "kernels/cpu/gelu.h"

#include <ATen/ops/empty.h>

#include "kernels/cpu/exponential.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/simd.h"
#include "kernels/cpu/takes.h"

namespace glmimage::kernels::cpu {
namespace {

// (1 + tanh u) / 2 is the sigmoid of 2u.
constexpr float kLinear = 1.5957691216F;  // 2·√(2/π)
constexpr float kCubic = 0.044715F;
constexpr float kFlat = 10;  // from there on the slope is 0 or 1, to float32

GLM_IMAGE_CLONES void gelu_row(const float* x, float* y, int64_t count) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) {
    y[i] = x[i] / (1 + exponential_for_sigmoid(-kLinear * x[i] * (1 + kCubic * x[i] * x[i])));
  }
}

GLM_IMAGE_CLONES void gelu_row_back(const float* grad, const float* x, float* x_grad, int64_t count) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) {
    const float near = x[i] < -kFlat ? -kFlat : x[i] > kFlat ? kFlat : x[i];
    const float square = kCubic * near * near;
    const float sigmoid = 1 / (1 + exponential_for_sigmoid(-kLinear * near * (1 + square)));
    x_grad[i] = grad[i] * sigmoid * (1 + near * (1 - sigmoid) * kLinear * (1 + 3 * square));
  }
}

}  // namespace

bool can_gelu(const at::Tensor& x) { return is_float_on_cpu(x); }

at::Tensor gelu_tanh(const at::Tensor& x) {
  const at::Tensor from = x.contiguous(), y = at::empty(x.sizes(), x.options());
  const float* in = from.const_data_ptr<float>();
  float* out = y.mutable_data_ptr<float>();
  parallel_rows(x.numel(), 1, [&](int64_t first, int64_t last) { gelu_row(in + first, out + first, last - first); });
  return y;
}

at::Tensor gelu_tanh_gradient(const at::Tensor& grad, const at::Tensor& x) {
  const at::Tensor from = x.contiguous(), by = grad.contiguous(), x_grad = at::empty(x.sizes(), x.options());
  const float *in = from.const_data_ptr<float>(), *g = by.const_data_ptr<float>();
  float* out = x_grad.mutable_data_ptr<float>();
  parallel_rows(x.numel(), 1,
                [&](int64_t first, int64_t last) { gelu_row_back(g + first, in + first, out + first, last - first); });
  return x_grad;
}

}  // namespace glmimage::kernels::cpu
