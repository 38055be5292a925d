#include "kernels/cpu/rms_norm.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/zeros.h>

#include <cmath>

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/simd.h"
#include "kernels/cpu/takes.h"

namespace glmimage::kernels::cpu {
namespace {

struct Rows {
  int64_t first, last, width;
};

GLM_IMAGE_CLONES void norm_rows(const float* x, const float* weight, float* y, float* scale, const Rows& rows,
                                float eps) {
  const int64_t width = rows.width;
  for (int64_t r = rows.first; r < rows.last; ++r) {
    const float* in = x + r * width;
    float* out = y + r * width;
    float squares = 0;
#pragma omp simd reduction(+ : squares)
    for (int64_t i = 0; i < width; ++i) squares += in[i] * in[i];
    const float factor = 1 / std::sqrt(squares / static_cast<float>(width) + eps);
    scale[r] = factor;
#pragma omp simd
    for (int64_t i = 0; i < width; ++i) out[i] = weight[i] * (in[i] * factor);
  }
}

struct Operands {
  const float *grad, *x, *weight, *scale;
};

// Adds to weight_grad, one row of `width`.
GLM_IMAGE_CLONES void back_rows(const Operands& from, float* x_grad, float* weight_grad, const Rows& rows) {
  const int64_t width = rows.width;
  const float* weight = from.weight;
  for (int64_t r = rows.first; r < rows.last; ++r) {
    const float *grad = from.grad + r * width, *x = from.x + r * width;
    float* out = x_grad + r * width;
    const float factor = from.scale[r];
    float along = 0;  // the gradient's share along x
#pragma omp simd reduction(+ : along)
    for (int64_t i = 0; i < width; ++i) along += grad[i] * weight[i] * x[i];
    const float pull = along * factor * factor * factor / static_cast<float>(width);
#pragma omp simd
    for (int64_t i = 0; i < width; ++i) {
      out[i] = grad[i] * weight[i] * factor - x[i] * pull;
      weight_grad[i] += grad[i] * x[i] * factor;
    }
  }
}

}  // namespace

bool can_norm(const at::Tensor& x, const at::Tensor& weight) {
  return is_float_on_cpu(x) && is_float_on_cpu(weight) && x.dim() >= 1 && weight.dim() == 1 &&
         x.size(-1) == weight.size(0);
}

NormedRows rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  const at::Tensor rows = x.contiguous(), factors = weight.contiguous();
  const int64_t width = factors.numel(), count = rows.numel() / std::max<int64_t>(1, width);
  NormedRows out{at::empty(x.sizes(), x.options()), at::empty({count}, x.options())};
  const float *from = rows.const_data_ptr<float>(), *by = factors.const_data_ptr<float>();
  float *to = out.y.mutable_data_ptr<float>(), *scale = out.scale.mutable_data_ptr<float>();
  parallel_rows(count, width, [&](int64_t first, int64_t last) {
    norm_rows(from, by, to, scale, {first, last, width}, static_cast<float>(eps));
  });
  return out;
}

RmsNormGradients rms_norm_gradients(const at::Tensor& grad, const at::Tensor& x, const at::Tensor& weight,
                                    const at::Tensor& scale) {
  const at::Tensor g = grad.contiguous(), rows = x.contiguous(), factors = weight.contiguous();
  const int64_t width = factors.numel(), count = scale.numel(), pieces = pieces_of(count, width);
  const at::Tensor x_grad = at::empty(x.sizes(), x.options()), partial = at::zeros({pieces, width}, x.options());
  const Operands from{g.const_data_ptr<float>(), rows.const_data_ptr<float>(), factors.const_data_ptr<float>(),
                      scale.const_data_ptr<float>()};
  float *to = x_grad.mutable_data_ptr<float>(), *sums = partial.mutable_data_ptr<float>();
  at::parallel_for(0, pieces, 1, [&](int64_t piece, int64_t last) {
    for (; piece < last; ++piece) {
      back_rows(from, to, sums + piece * width, {count * piece / pieces, count * (piece + 1) / pieces, width});
    }
  });
  return {x_grad, pieces == 1 ? partial.squeeze(0) : partial.sum(0)};
}

}  // namespace glmimage::kernels::cpu
