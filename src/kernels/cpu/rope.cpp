#include "kernels/cpu/rope.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <array>

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/simd.h"
#include "kernels/cpu/takes.h"

namespace glmimage::kernels::cpu {
namespace {

struct Heads {
  int64_t count, half, width;          // heads; pairs and values of each
  int64_t x_step, cos_step, sin_step;  // from head to head
  float way;                           // -1: backwards
};

GLM_IMAGE_CLONES void turn_heads(const float* x, float* y, const float* cos, const float* sin, const Heads& heads) {
  for (int64_t h = 0; h < heads.count; ++h) {
    const float *first = x + h * heads.x_step, *second = first + heads.half;
    const float *c = cos + h * heads.cos_step, *s = sin + h * heads.sin_step;
    float *out = y + h * heads.width, *out_second = out + heads.half;
#pragma omp simd
    for (int64_t i = 0; i < heads.half; ++i) {
      const float turned = heads.way * s[i];
      out[i] = first[i] * c[i] - second[i] * turned;
      out_second[i] = second[i] * c[i] + first[i] * turned;
    }
    std::copy(first + 2 * heads.half, first + heads.width, out + 2 * heads.half);
  }
}

}  // namespace

bool can_turn(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin) {
  const auto plain = [](const at::Tensor& t) { return is_float_on_cpu(t) && t.dim() >= 1 && t.stride(-1) == 1; };
  return x.dim() == 4 && plain(x) && plain(cos) && plain(sin) && cos.dim() <= 4 && cos.sizes() == sin.sizes() &&
         2 * cos.size(-1) <= x.size(3) && !cos.requires_grad() && !sin.requires_grad();
}

at::Tensor turn(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin, bool back) {
  const int64_t tokens = x.size(1), count = x.size(2), width = x.size(3), half = cos.size(-1);
  const std::array<int64_t, 4> places = {x.size(0), tokens, count, half};
  const at::Tensor c = cos.expand(places), s = sin.expand(places);
  at::Tensor y = at::empty(x.sizes(), x.options());
  const Heads heads{count, half, width, x.stride(2), c.stride(2), s.stride(2), back ? -1.0F : 1.0F};
  const float *from = x.const_data_ptr<float>(), *cosines = c.const_data_ptr<float>(),
              *sines = s.const_data_ptr<float>();
  float* to = y.mutable_data_ptr<float>();
  parallel_rows(x.size(0) * tokens, count * width, [&](int64_t row, int64_t last) {
    for (; row < last; ++row) {
      const int64_t b = row / tokens, t = row % tokens;
      turn_heads(from + b * x.stride(0) + t * x.stride(1), to + row * count * width,
                 cosines + b * c.stride(0) + t * c.stride(1), sines + b * s.stride(0) + t * s.stride(1), heads);
    }
  });
  return y;
}

}  // namespace glmimage::kernels::cpu
