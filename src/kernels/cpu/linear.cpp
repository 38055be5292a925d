#include "kernels/cpu/linear.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "kernels/cpu/bfloat16.h"
#include "kernels/cpu/integer_rows.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/simd.h"
#include "kernels/linear.h"

// A matrix of a language model does not fit into the caches: a product with one token takes as long as reading it.
// Four rows go side by side, so that one load of the token serves four and enough lines are under way.
namespace glmimage::kernels::cpu {
namespace {

constexpr int64_t kFewTokens = 8, kLanes = 16;

// The compiler makes of these what the machine has: a register of AVX-512, two of AVX2, four of SSE2.
using Floats = float __attribute__((vector_size(64)));
using Words = uint32_t __attribute__((vector_size(64)));
using Shorts = uint16_t __attribute__((vector_size(32)));
using EightFloats = float __attribute__((vector_size(32)));
using EightWords = int32_t __attribute__((vector_size(32)));

template <typename Vector, typename Value>
[[gnu::always_inline]] inline void load(Vector& to, const Value* from) {
  std::memcpy(&to, from, sizeof(Vector));
}

// Asks for what the same row of the next block of rows has here: rows are too short for the machine to see them coming.
template <typename Value>
[[gnu::always_inline]] inline void ask_ahead(const Value* from, int64_t width) {
  __builtin_prefetch(from + kRows * width, 0, 2);
}

template <typename Vector>
[[gnu::always_inline]] inline float sum_of(const Vector& v) {
  float sum = 0;
  for (size_t i = 0; i < sizeof(Vector) / sizeof(float); ++i) sum += v[i];
  return sum;
}

// Where the rows of one product begin; rows that are not there repeat the last one.
template <typename Value>
std::array<const Value*, kRows> rows_from(const Value* matrix, int64_t width, int64_t row, int64_t rows) {
  std::array<const Value*, kRows> out;
  for (int64_t r = 0; r < kRows; ++r) out[static_cast<size_t>(r)] = matrix + std::min(row + r, rows - 1) * width;
  return out;
}

GLM_IMAGE_CLONES void four_rows_bfloat16(const uint16_t* const* w, const float* x, int64_t in, float* y) {
  Floats sums[kRows] = {};
  int64_t i = 0;
  for (; i + kLanes <= in; i += kLanes) {
    Floats token;
    load(token, x + i);
    for (int r = 0; r < kRows; ++r) {
      Shorts half;
      load(half, w[r] + i);
      ask_ahead(w[r] + i, in);
      const Words bits = __builtin_convertvector(half, Words) << 16;
      Floats value;
      load(value, &bits);
      sums[r] += value * token;
    }
  }
  for (int r = 0; r < kRows; ++r) {
    y[r] = sum_of(sums[r]);
    for (int64_t j = i; j < in; ++j) y[r] += widened(w[r][j]) * x[j];
  }
}

// Integers are not spread over wider registers, which takes several instructions, but taken out of eight words where
// they are: step k takes the k-th of every word. The token lies in that order (order_for).
constexpr int64_t kWords = 8, kInt8Block = 4 * kWords, kInt4Block = 8 * kWords;

GLM_IMAGE_CLONES void four_rows_int8(const int8_t* const* w, const Scales* scales, const float* x, int64_t groups,
                                     int64_t group, float* y) {
  EightFloats sums[kRows] = {};
  for (int64_t g = 0; g < groups; ++g) {
    EightFloats parts[kRows] = {};
    for (int64_t i = g * group; i < (g + 1) * group; i += kInt8Block) {
      EightFloats token[4];
      for (int k = 0; k < 4; ++k) load(token[k], x + i + k * kWords);
      for (int r = 0; r < kRows; ++r) {
        EightWords words;
        load(words, w[r] + i);
        ask_ahead(w[r] + i, groups * group);
        // The byte to the top, and down again with its sign. Two sums: an addition waits for the one before it.
        EightFloats even = __builtin_convertvector((words << 24) >> 24, EightFloats) * token[0];
        EightFloats odd = __builtin_convertvector((words << 16) >> 24, EightFloats) * token[1];
        even += __builtin_convertvector((words << 8) >> 24, EightFloats) * token[2];
        odd += __builtin_convertvector(words >> 24, EightFloats) * token[3];
        parts[r] += even + odd;
      }
    }
    for (int r = 0; r < kRows; ++r) sums[r] += parts[r] * scales[r].at(g);
  }
  for (int r = 0; r < kRows; ++r) y[r] = sum_of(sums[r]);
}

// x: the ordered token, and for each group 8 times its sum, which the 8 that is added to every integer costs. The
// second to fourth of a half word are 16, 256 and 4096 times what they stand for; the token makes up for it.
GLM_IMAGE_CLONES void four_rows_int4(const uint8_t* const* w, const Scales* scales, const float* x, const float* offset,
                                     int64_t groups, int64_t group, float* y) {
  EightFloats sums[kRows] = {};
  float offsets[kRows] = {};
  for (int64_t g = 0; g < groups; ++g) {
    EightFloats parts[kRows] = {};
    for (int64_t i = g * group; i < (g + 1) * group; i += kInt4Block) {
      EightFloats token[8];
      for (int k = 0; k < 8; ++k) load(token[k], x + i + k * kWords);
      for (int r = 0; r < kRows; ++r) {
        EightWords words;
        load(words, w[r] + i / 2);
        ask_ahead(w[r] + i / 2, groups * group / 2);
        const EightWords high = words >> 16;
        EightFloats even = __builtin_convertvector(words & 15, EightFloats) * token[0];
        EightFloats odd = __builtin_convertvector(high & 15, EightFloats) * token[4];
        for (int k = 1; k < 4; ++k) {
          even += __builtin_convertvector(words & (15 << 4 * k), EightFloats) * token[k];
          odd += __builtin_convertvector(high & (15 << 4 * k), EightFloats) * token[4 + k];
        }
        parts[r] += even + odd;
      }
    }
    for (int r = 0; r < kRows; ++r) {
      const float scale = scales[r].at(g);
      sums[r] += parts[r] * scale;
      offsets[r] += scale * offset[g];
    }
  }
  for (int r = 0; r < kRows; ++r) y[r] = sum_of(sums[r]) - offsets[r];
}

// Value k of word j comes to place 8 k + j of its block of `each` values a word; of half words `shrink`s as above.
void order_for(int64_t each, bool shrink, const float* from, int64_t in, float* to) {
  for (int64_t block = 0; block < in; block += each * kWords) {
    for (int64_t k = 0; k < each; ++k) {
      const float factor = shrink ? 1.0F / static_cast<float>(1 << 4 * (k % 4)) : 1.0F;
      for (int64_t j = 0; j < kWords; ++j) to[block + k * kWords + j] = from[block + j * each + k] * factor;
    }
  }
}

GLM_IMAGE_CLONES void write_row(const int8_t* q, const Scales& scales, int64_t groups, int64_t group, float* to) {
  for (int64_t g = 0; g < groups; ++g) {
    const float scale = scales.at(g);
#pragma omp simd
    for (int64_t i = g * group; i < (g + 1) * group; ++i) to[i] = static_cast<float>(q[i]) * scale;
  }
}

GLM_IMAGE_CLONES void unpack_row(const uint8_t* q, int64_t in, int8_t* to) {
#pragma omp simd
  for (int64_t i = 0; i < in / 2; ++i) {
    to[2 * i] = static_cast<int8_t>((q[i] & 15) - 8);
    to[2 * i + 1] = static_cast<int8_t>((q[i] >> 4) - 8);
  }
}

GLM_IMAGE_CLONES void round_row(const float* from, int64_t count, uint16_t* to) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) store(from[i], to + i);
}

bool tokens_fit(const at::Tensor& x, const std::optional<at::Tensor>& bias) {
  return x.device().is_cpu() && x.dim() >= 1 && x.numel() > 0 && x.numel() <= kFewTokens * x.size(-1) &&
         (!bias || bias->scalar_type() == x.scalar_type());
}

// Calls product(row, token, y) for every four rows and every token, where y takes four values, and adds the bias.
template <typename Product>
at::Tensor stream(const at::Tensor& x, int64_t out, int64_t in, const std::optional<at::Tensor>& bias,
                  const Product& product) {
  const int64_t tokens = x.numel() / in;
  std::vector<int64_t> shape = x.sizes().vec();
  shape.back() = out;
  at::Tensor sums = at::empty({tokens, out}, x.options().dtype(at::kFloat));
  const at::Tensor wide = bias ? bias->to(at::kFloat).contiguous() : at::Tensor();
  const float* add = bias ? wide.const_data_ptr<float>() : nullptr;
  float* to = sums.mutable_data_ptr<float>();
  parallel_rows((out + kRows - 1) / kRows, kRows * in, [&](int64_t block, int64_t last) {
    std::array<float, kRows> y;
    for (; block < last; ++block) {
      const int64_t row = block * kRows, count = std::min(kRows, out - row);
      for (int64_t token = 0; token < tokens; ++token) {
        product(row, token, y.data());
        for (int64_t r = 0; r < count; ++r)
          to[token * out + row + r] = y[static_cast<size_t>(r)] + (add ? add[row + r] : 0);
      }
    }
  });
  return sums.to(x.scalar_type()).view(shape);
}

// The scales of any row.
class ScaleTable {
 public:
  explicit ScaleTable(const at::Tensor& scale) : scale_(scale.contiguous()) {}
  Scales row(int64_t number) const {
    const int64_t first = number * scale_.size(1);
    if (scale_.scalar_type() == at::kFloat) return {nullptr, scale_.const_data_ptr<float>() + first};
    return {reinterpret_cast<const uint16_t*>(scale_.const_data_ptr()) + first, nullptr};
  }
  std::array<Scales, kRows> rows_from(int64_t number) const {
    std::array<Scales, kRows> out;
    for (int64_t r = 0; r < kRows; ++r) out[static_cast<size_t>(r)] = row(std::min(number + r, scale_.size(0) - 1));
    return out;
  }

 private:
  at::Tensor scale_;
};

bool scale_fits(const at::Tensor& q, const at::Tensor& scale) {
  return q.device().is_cpu() && (q.scalar_type() == at::kChar || q.scalar_type() == at::kByte) && q.is_contiguous() &&
         (scale.scalar_type() == at::kFloat || scale.scalar_type() == at::kBFloat16) && q.dim() == 2 &&
         scale.dim() == 2 && scale.size(0) == q.size(0) && scale.size(1) > 0;
}

// Tokens as the loops want them, and 8 times the sums of their groups.
struct OrderedTokens {
  OrderedTokens(const at::Tensor& x, int64_t in, int64_t groups, bool int4)
      : values(static_cast<size_t>(x.numel())), offsets(static_cast<size_t>(x.numel() / in * groups)) {
    const at::Tensor wide = x.to(at::kFloat).contiguous();
    const float* from = wide.const_data_ptr<float>();
    const int64_t count = x.numel() / in, group = in / groups;
    for (int64_t token = 0; token < count; ++token, from += in) {
      order_for(int4 ? 8 : 4, int4, from, in, values.data() + token * in);
      for (int64_t g = 0; g < groups; ++g) {
        float sum = 0;
        for (int64_t i = g * group; i < (g + 1) * group; ++i) sum += from[i];
        offsets[static_cast<size_t>(token * groups + g)] = 8 * sum;
      }
    }
  }
  std::vector<float> values, offsets;
};

// With products of bytes (integer_rows.h).
at::Tensor stream_bytes(const at::Tensor& x, const at::Tensor& q, const at::Tensor& scale,
                        const std::optional<at::Tensor>& bias) {
  const Integers kind = q.scalar_type() == at::kByte ? Integers::int4 : Integers::int8;
  const int64_t in = input_width(q), out = q.size(0), groups = scale.size(1), row_bytes = q.size(1);
  const int64_t tokens = x.numel() / in, stride = (in + kTokenBlock - 1) / kTokenBlock * kTokenBlock;
  std::vector<int8_t> high(static_cast<size_t>(tokens * stride)), low(high.size());
  std::vector<float> steps(static_cast<size_t>(tokens * groups)), offsets(steps.size());
  const at::Tensor wide = x.to(at::kFloat).contiguous();
  for (int64_t token = 0; token < tokens; ++token) {
    split_token(kind, wide.const_data_ptr<float>() + token * in, in, groups, high.data() + token * stride,
                low.data() + token * stride, steps.data() + token * groups, offsets.data() + token * groups);
  }
  const ScaleTable scales(scale);
  const auto* data = static_cast<const uint8_t*>(q.const_data_ptr());
  return stream(x, out, in, bias, [&](int64_t row, int64_t token, float* y) {
    const IntegerRows rows{rows_from(data, row_bytes, row, out), scales.rows_from(row), groups, in / groups};
    multiply_bytes(kind, rows,
                   {high.data() + token * stride, low.data() + token * stride, steps.data() + token * groups,
                    offsets.data() + token * groups},
                   y);
  });
}

}  // namespace

bool can_stream(const at::Tensor& x, const at::Tensor& weight, const std::optional<at::Tensor>& bias) {
  return x.scalar_type() == at::kBFloat16 && weight.scalar_type() == at::kBFloat16 && weight.device().is_cpu() &&
         weight.dim() == 2 && weight.is_contiguous() && tokens_fit(x, bias) && x.size(-1) == weight.size(1);
}

at::Tensor stream_linear(const at::Tensor& x, const at::Tensor& weight, const std::optional<at::Tensor>& bias) {
  const int64_t out = weight.size(0), in = weight.size(1);
  const at::Tensor wide = x.to(at::kFloat).contiguous();
  const float* tokens = wide.const_data_ptr<float>();
  const auto* data = reinterpret_cast<const uint16_t*>(weight.const_data_ptr());
  return stream(x, out, in, bias, [&](int64_t row, int64_t token, float* y) {
    four_rows_bfloat16(rows_from(data, in, row, out).data(), tokens + token * in, in, y);
  });
}

bool can_stream_quantised(const at::Tensor& x, const at::Tensor& q, const at::Tensor& scale,
                          const std::optional<at::Tensor>& bias) {
  if (!scale_fits(q, scale) || !tokens_fit(x, bias) || x.size(-1) != input_width(q)) return false;
  const int64_t block = q.scalar_type() == at::kByte ? kInt4Block : kInt8Block;
  return (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16) &&
         input_width(q) % (scale.size(1) * block) == 0;
}

at::Tensor stream_quantised(const at::Tensor& x, const at::Tensor& q, const at::Tensor& scale,
                            const std::optional<at::Tensor>& bias, Products products) {
  const bool int4 = q.scalar_type() == at::kByte;
  const int64_t in = input_width(q), out = q.size(0), groups = scale.size(1), group = in / groups;
  if (products == Products::bytes && multiplies_bytes() && group % kIntegerBlock == 0 && groups <= kMostGroups) {
    return stream_bytes(x, q, scale, bias);
  }
  const OrderedTokens tokens(x, in, groups, int4);
  const ScaleTable scales(scale);
  const float *values = tokens.values.data(), *offsets = tokens.offsets.data();
  if (int4) {
    const uint8_t* data = q.const_data_ptr<uint8_t>();
    return stream(x, out, in, bias, [&](int64_t row, int64_t token, float* y) {
      four_rows_int4(rows_from(data, in / 2, row, out).data(), scales.rows_from(row).data(), values + token * in,
                     offsets + token * groups, groups, group, y);
    });
  }
  const int8_t* data = q.const_data_ptr<int8_t>();
  return stream(x, out, in, bias, [&](int64_t row, int64_t token, float* y) {
    four_rows_int8(rows_from(data, in, row, out).data(), scales.rows_from(row).data(), values + token * in, groups,
                   group, y);
  });
}

bool can_dequantise(const at::Tensor& q, const at::Tensor& scale, at::ScalarType dtype) {
  return (dtype == at::kFloat || dtype == at::kBFloat16) && scale_fits(q, scale) && input_width(q) % scale.size(1) == 0;
}

at::Tensor dequantise(const at::Tensor& q, const at::Tensor& scale, at::ScalarType dtype) {
  const ScaleTable scales(scale);
  const int64_t in = input_width(q), out = q.size(0), groups = scale.size(1);
  at::Tensor to = at::empty({out, in}, q.options().dtype(dtype));
  parallel_rows(out, in, [&](int64_t row, int64_t last) {
    std::vector<int8_t> integers(static_cast<size_t>(in));
    std::vector<float> values(static_cast<size_t>(in));
    for (; row < last; ++row) {
      const int8_t* from = integers.data();
      if (q.scalar_type() == at::kByte) {
        unpack_row(q.const_data_ptr<uint8_t>() + row * in / 2, in, integers.data());
      } else {
        from = q.const_data_ptr<int8_t>() + row * in;
      }
      if (dtype == at::kFloat) {
        write_row(from, scales.row(row), groups, in / groups, to.mutable_data_ptr<float>() + row * in);
      } else {
        write_row(from, scales.row(row), groups, in / groups, values.data());
        round_row(values.data(), in, static_cast<uint16_t*>(to.mutable_data_ptr()) + row * in);
      }
    }
  });
  return to;
}

}  // namespace glmimage::kernels::cpu
