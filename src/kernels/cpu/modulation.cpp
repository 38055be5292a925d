#include "kernels/cpu/modulation.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/zeros.h>

#include <cmath>

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/simd.h"
#include "kernels/cpu/takes.h"

namespace glmimage::kernels::cpu {
namespace {

GLM_IMAGE_CLONES void norm_token(const float* x, const float* shift, const float* scale, float* y, float* stats,
                                 int64_t width, float eps) {
  const float count = static_cast<float>(width);
  float total = 0;
#pragma omp simd reduction(+ : total)
  for (int64_t i = 0; i < width; ++i) total += x[i];
  const float mean = total / count;
  float squares = 0;
#pragma omp simd reduction(+ : squares)
  for (int64_t i = 0; i < width; ++i) squares += (x[i] - mean) * (x[i] - mean);
  const float factor = 1 / std::sqrt(squares / count + eps);
  stats[0] = mean, stats[1] = factor;
#pragma omp simd
  for (int64_t i = 0; i < width; ++i) y[i] = (x[i] - mean) * factor * (1 + scale[i]) + shift[i];
}

// Adds to shift_grad and scale_grad.
GLM_IMAGE_CLONES void norm_token_back(const float* grad, const float* x, const float* scale, const float* stats,
                                      float* x_grad, float* shift_grad, float* scale_grad, int64_t width) {
  const float mean = stats[0], factor = stats[1], count = static_cast<float>(width);
  float total = 0, along = 0;
#pragma omp simd reduction(+ : total, along)
  for (int64_t i = 0; i < width; ++i) {
    const float inner = grad[i] * (1 + scale[i]);
    total += inner;
    along += inner * (x[i] - mean);
  }
  const float level = total / count, pull = along * factor * factor / count;
#pragma omp simd
  for (int64_t i = 0; i < width; ++i) {
    const float off = x[i] - mean;
    x_grad[i] = factor * (grad[i] * (1 + scale[i]) - level - off * pull);
    shift_grad[i] += grad[i];
    scale_grad[i] += grad[i] * off * factor;
  }
}

GLM_IMAGE_CLONES void add_gated(const float* x, const float* gate, const float* update, float* y, int64_t width) {
#pragma omp simd
  for (int64_t i = 0; i < width; ++i) y[i] = x[i] + gate[i] * update[i];
}

// Adds to gate_grad.
GLM_IMAGE_CLONES void gated_back(const float* grad, const float* gate, const float* update, float* update_grad,
                                 float* gate_grad, int64_t width) {
#pragma omp simd
  for (int64_t i = 0; i < width; ++i) {
    update_grad[i] = grad[i] * gate[i];
    gate_grad[i] += grad[i] * update[i];
  }
}

// Where the rows of a (B, T, D) tensor begin.
struct Rows {
  explicit Rows(const at::Tensor& t)
      : values(t.const_data_ptr<float>()), batch_step(t.stride(0)), token_step(t.stride(1)) {}
  const float* operator()(int64_t b, int64_t t) const { return values + b * batch_step + t * token_step; }
  const float* values;
  int64_t batch_step, token_step;
};

// Calls row(b, t) for every token of x.
template <typename Row>
void for_each_token(const at::Tensor& x, const Row& row) {
  const int64_t tokens = x.size(1);
  parallel_rows(x.size(0) * tokens, x.size(2), [&](int64_t i, int64_t last) {
    for (; i < last; ++i) row(i / tokens, i % tokens);
  });
}

// The same where rows add to sums of their sample, one or two rows of D: row(b, t, sum, other). -> (kinds, B, 1, D).
template <typename Row>
at::Tensor sum_over_tokens(const at::Tensor& x, int64_t kinds, const Row& row) {
  const int64_t batch = x.size(0), tokens = x.size(1), width = x.size(2);
  const int64_t pieces = (pieces_of(batch * tokens, width) + batch - 1) / std::max<int64_t>(1, batch);  // of a sample
  const at::Tensor partial = at::zeros({kinds, batch, pieces, width}, x.options());
  float* sums = partial.mutable_data_ptr<float>();
  at::parallel_for(0, batch * pieces, 1, [&](int64_t i, int64_t last) {
    for (; i < last; ++i) {
      const int64_t b = i / pieces, piece = i % pieces, end = tokens * (piece + 1) / pieces;
      float *sum = sums + i * width, *other = sum + (kinds - 1) * batch * pieces * width;
      for (int64_t t = tokens * piece / pieces; t < end; ++t) row(b, t, sum, other);
    }
  });
  return pieces == 1 ? partial : partial.sum(2, /*keepdim=*/true);
}

}  // namespace

bool can_modulate(const at::Tensor& tensor) {
  return is_float_on_cpu(tensor) && tensor.dim() == 3 && tensor.stride(2) == 1;
}

void modulated_norm(const Run& run, const at::Tensor& shift, const at::Tensor& scale, double eps, at::Tensor& joint,
                    at::Tensor& stats) {
  const int64_t width = run.x.size(2), all = joint.size(1);
  const Rows x(run.x), shifts(shift), scales(scale);
  float *y = joint.mutable_data_ptr<float>(), *noted = stats.mutable_data_ptr<float>();
  for_each_token(run.x, [&](int64_t b, int64_t t) {
    const int64_t place = b * all + run.begin + t;
    norm_token(x(b, t), shifts(b, 0), scales(b, 0), y + place * width, noted + 2 * place, width,
               static_cast<float>(eps));
  });
}

ModulationGradients modulated_norm_gradients(const Run& run, const at::Tensor& scale, const at::Tensor& stats,
                                             const at::Tensor& joint_grad) {
  const int64_t tokens = run.x.size(1), width = run.x.size(2), all = joint_grad.size(1);
  const Rows x(run.x), scales(scale), grads(joint_grad);
  const at::Tensor x_grad = at::empty(run.x.sizes(), run.x.options());
  const float* noted = stats.const_data_ptr<float>();
  float* to = x_grad.mutable_data_ptr<float>();
  const at::Tensor sums = sum_over_tokens(run.x, 2, [&](int64_t b, int64_t t, float* shift_grad, float* scale_grad) {
    norm_token_back(grads(b, run.begin + t), x(b, t), scales(b, 0), noted + 2 * (b * all + run.begin + t),
                    to + (b * tokens + t) * width, shift_grad, scale_grad, width);
  });
  return {x_grad, sums.select(0, 0), sums.select(0, 1)};
}

at::Tensor gated_residual(const Run& run, const at::Tensor& gate, const at::Tensor& joint) {
  const int64_t tokens = run.x.size(1), width = run.x.size(2);
  const Rows x(run.x), gates(gate), updates(joint);
  const at::Tensor y = at::empty(run.x.sizes(), run.x.options());
  float* to = y.mutable_data_ptr<float>();
  for_each_token(run.x, [&](int64_t b, int64_t t) {
    add_gated(x(b, t), gates(b, 0), updates(b, run.begin + t), to + (b * tokens + t) * width, width);
  });
  return y;
}

at::Tensor gated_residual_gradients(const Run& grad, const at::Tensor& gate, const at::Tensor& joint,
                                    at::Tensor& joint_grad) {
  const int64_t width = joint.size(2), all = joint.size(1);
  const Rows grads(grad.x), gates(gate), updates(joint);
  float* to = joint_grad.mutable_data_ptr<float>();
  const at::Tensor sums = sum_over_tokens(grad.x, 1, [&](int64_t b, int64_t t, float* gate_grad, float*) {
    const int64_t place = grad.begin + t;
    gated_back(grads(b, t), gates(b, 0), updates(b, place), to + (b * all + place) * width, gate_grad, width);
  });
  return sums.select(0, 0);
}

}  // namespace glmimage::kernels::cpu
