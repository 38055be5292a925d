#include "kernels/cpu/rounded_linear.h"

#include <ATen/ops/_int_mm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/cpu/bfloat16.h"
#include "kernels/cpu/integer_rows.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/simd.h"

namespace glmimage::kernels::cpu {
namespace {

// Sums of products that are in the caches when they are scaled: 4 MiB of them.
constexpr int64_t kSums = 1 << 20;

// One token as bytes -> its scale.
template <typename Value>
[[gnu::always_inline]] inline float round_token(const Value* x, int64_t in, int8_t* to) {
  float largest = 0, probe = 0;
#pragma omp simd reduction(max : largest) reduction(+ : probe)
  for (int64_t i = 0; i < in; ++i) {
    const float value = widened(x[i]);
    largest = std::max(largest, std::abs(value));
    probe += value * 0;
  }
  if (probe != 0) {  // not a number, or infinite
    std::memset(to, 0, static_cast<size_t>(in));
    return std::numeric_limits<float>::quiet_NaN();
  }
  const float inverse = largest > 0 ? 127 / largest : 0;
  // Adding 1.5 · 2^23 leaves the nearest integer in the low bits.
  constexpr float kRound = 12582912;
#pragma omp simd
  for (int64_t i = 0; i < in; ++i) {
    const float shifted = widened(x[i]) * inverse + kRound;
    int32_t bits;
    std::memcpy(&bits, &shifted, sizeof bits);
    to[i] = static_cast<int8_t>(bits);
  }
  return largest / 127;
}

GLM_IMAGE_CLONES float round_token_of(const float* x, int64_t in, int8_t* to) { return round_token(x, in, to); }
GLM_IMAGE_CLONES float round_token_of(const uint16_t* x, int64_t in, int8_t* to) { return round_token(x, in, to); }

// y[o] = sums[o] · token · rows[o] + add[o]
template <typename Value>
[[gnu::always_inline]] inline void scale_row(const int32_t* sums, float token, const float* rows, const float* add,
                                             int64_t count, Value* y) {
#pragma omp simd
  for (int64_t o = 0; o < count; ++o) store(static_cast<float>(sums[o]) * (token * rows[o]) + add[o], y + o);
}

GLM_IMAGE_CLONES void scale_row_of(const int32_t* sums, float token, const float* rows, const float* add, int64_t count,
                                   float* y) {
  scale_row(sums, token, rows, add, count, y);
}
GLM_IMAGE_CLONES void scale_row_of(const int32_t* sums, float token, const float* rows, const float* add, int64_t count,
                                   uint16_t* y) {
  scale_row(sums, token, rows, add, count, y);
}

// x (T, in) contiguous -> y (T, out)
template <typename Value>
void multiply(const at::Tensor& x, const at::Tensor& q, const at::Tensor& rows, const at::Tensor& add, at::Tensor& y) {
  const int64_t tokens = x.size(0), in = x.size(1), out = q.size(0);
  const at::Tensor bytes = at::empty({tokens, in}, q.options()), scales = at::empty({tokens}, rows.options());
  const auto* from = static_cast<const Value*>(x.const_data_ptr());
  auto* rounded = bytes.mutable_data_ptr<int8_t>();
  auto* scale = scales.mutable_data_ptr<float>();
  parallel_rows(tokens, in, [&](int64_t t, int64_t last) {
    for (; t < last; ++t) scale[t] = round_token_of(from + t * in, in, rounded + t * in);
  });
  const int64_t block = std::clamp<int64_t>(kSums / tokens / 64 * 64, 256, std::max<int64_t>(256, out));
  const float *row_scales = rows.const_data_ptr<float>(), *addends = add.const_data_ptr<float>();
  auto* to = static_cast<Value*>(y.mutable_data_ptr());
  for (int64_t first = 0; first < out; first += block) {
    const int64_t count = std::min(block, out - first);
    const at::Tensor sums = at::_int_mm(bytes, q.narrow(0, first, count).t());  // (T, count) int32
    const int32_t* sum = sums.const_data_ptr<int32_t>();
    parallel_rows(tokens, count, [&](int64_t t, int64_t last) {
      for (; t < last; ++t) {
        scale_row_of(sum + t * count, scale[t], row_scales + first, addends + first, count, to + t * out + first);
      }
    });
  }
}

}  // namespace

bool can_round_tokens(const at::Tensor& x, const at::Tensor& q, const at::Tensor& scale,
                      const std::optional<at::Tensor>& bias) {
  // The largest sum, 127² · in, fits 32 bits.
  constexpr int64_t kLongest = std::numeric_limits<int32_t>::max() / (127 * 127);
  return multiplies_bytes() && x.device().is_cpu() && x.numel() > 0 &&
         (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16) && q.device().is_cpu() &&
         q.scalar_type() == at::kChar && q.is_contiguous() && scale.size(1) == 1 && x.size(-1) == q.size(1) &&
         x.size(-1) <= kLongest && (!bias || bias->scalar_type() == x.scalar_type());
}

at::Tensor rounded_linear(const at::Tensor& x, const at::Tensor& q, const at::Tensor& scale,
                          const std::optional<at::Tensor>& bias) {
  const int64_t in = q.size(1), out = q.size(0);
  std::vector<int64_t> shape = x.sizes().vec();
  shape.back() = out;
  const at::Tensor tokens = x.reshape({-1, in}).contiguous(), rows = scale.reshape({out}).to(at::kFloat);
  const at::Tensor add = bias ? bias->to(at::kFloat).contiguous() : at::zeros({out}, rows.options());
  at::Tensor y = at::empty({tokens.size(0), out}, x.options());
  if (x.scalar_type() == at::kFloat) {
    multiply<float>(tokens, q, rows, add, y);
  } else {
    multiply<uint16_t>(tokens, q, rows, add, y);
  }
  return y.view(shape);
}

}  // namespace glmimage::kernels::cpu
