#include "kernels/cpu/integer_rows.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "kernels/cpu/intrinsics.h"

namespace glmimage::kernels::cpu {

void split_token(Integers kind, const float* x, int64_t in, int64_t groups, int8_t* high, int8_t* low, float* scale,
                 float* offset) {
  constexpr float kLargest = 32512;  // 256 · 127: the high byte stays in range when the low one is rounded up into it
  const int64_t group = in / groups, shift = kind == Integers::int8 ? 128 : 8;
  for (int64_t g = 0; g < groups; ++g) {
    float largest = 0, probe = 0;
    for (int64_t i = g * group; i < (g + 1) * group; ++i) {
      largest = std::max(largest, std::abs(x[i]));
      probe += x[i] * 0;
    }
    if (probe != 0) {  // not a number, or infinite: so is every product
      std::fill(high + g * group, high + (g + 1) * group, int8_t{0});
      std::fill(low + g * group, low + (g + 1) * group, int8_t{0});
      scale[g] = offset[g] = std::numeric_limits<float>::quiet_NaN();
      continue;
    }
    const float step = largest / kLargest, inverse = step > 0 ? kLargest / largest : 0;
    int64_t sum = 0;
    for (int64_t i = g * group; i < (g + 1) * group; ++i) {
      const auto whole = static_cast<int32_t>(std::lrint(x[i] * inverse));
      const int32_t top = (whole + 128) >> 8;
      // Of two values in a byte the first stand together, then the second.
      const int64_t block = i / kTokenBlock * kTokenBlock, place = i - block;
      const int64_t to = kind == Integers::int8 ? i : block + place / 2 + place % 2 * (kTokenBlock / 2);
      high[to] = static_cast<int8_t>(top);
      low[to] = static_cast<int8_t>(whole - 256 * top);
      sum += whole;
    }
    scale[g] = step;
    offset[g] = step * static_cast<float>(shift * sum);
  }
}

#if defined(__x86_64__)

#define GLM_IMAGE_VNNI __attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,avx512vnni,fma")))

namespace {

// What both rows' and token's steps make of a group, and what the shift of the weights costs.
struct RowScales {
  alignas(64) float step[kRows][kMostGroups];
  float offset[kRows];
};

GLM_IMAGE_VNNI void multiply_scales(const IntegerRows& rows, const SplitToken& x, RowScales& out) {
  constexpr int64_t kLanes = 16;
  for (int r = 0; r < kRows; ++r) {
    const Scales& scale = rows.scale[static_cast<size_t>(r)];
    __m512 offset = _mm512_setzero_ps();
    for (int64_t g = 0; g < rows.groups; g += kLanes) {
      const auto mask = static_cast<__mmask16>((1U << std::min(kLanes, rows.groups - g)) - 1);
      const __m512 row = scale.narrow
                             ? _mm512_castsi512_ps(_mm512_slli_epi32(
                                   _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, scale.narrow + g)), 16))
                             : _mm512_maskz_loadu_ps(mask, scale.wide + g);
      _mm512_store_ps(out.step[r] + g, _mm512_mul_ps(row, _mm512_maskz_loadu_ps(mask, x.scale + g)));
      offset = _mm512_fmadd_ps(row, _mm512_maskz_loadu_ps(mask, x.offset + g), offset);
    }
    out.offset[r] = _mm512_reduce_add_ps(offset);
  }
}

// 256 · high + low. Not joined as integers: a long group's would not fit 32 bits.
GLM_IMAGE_VNNI inline __m512 joined(__m512i high, __m512i low) {
  return _mm512_fmadd_ps(_mm512_cvtepi32_ps(high), _mm512_set1_ps(256), _mm512_cvtepi32_ps(low));
}

GLM_IMAGE_VNNI void four_rows_int8(const IntegerRows& rows, const SplitToken& x, const RowScales& scales, float* y) {
  const __m512i shift = _mm512_set1_epi8(-128);            // the products want one side unsigned
  const int64_t ahead = kRows * rows.groups * rows.group;  // bytes to the next four rows
  __m512 sums[kRows];
  for (__m512& sum : sums) sum = _mm512_setzero_ps();
  for (int64_t g = 0; g < rows.groups; ++g) {
    __m512i high[kRows], low[kRows];
    for (int r = 0; r < kRows; ++r) high[r] = low[r] = _mm512_setzero_si512();
    for (int64_t i = g * rows.group; i < (g + 1) * rows.group; i += kIntegerBlock) {
      const __m512i top = _mm512_loadu_si512(x.high + i), rest = _mm512_loadu_si512(x.low + i);
      for (int r = 0; r < kRows; ++r) {
        __builtin_prefetch(rows.w[static_cast<size_t>(r)] + i + ahead, 0, 2);
        const __m512i w = _mm512_xor_si512(_mm512_loadu_si512(rows.w[static_cast<size_t>(r)] + i), shift);
        high[r] = _mm512_dpbusd_epi32(high[r], w, top);
        low[r] = _mm512_dpbusd_epi32(low[r], w, rest);
      }
    }
    for (int r = 0; r < kRows; ++r) {
      sums[r] = _mm512_fmadd_ps(joined(high[r], low[r]), _mm512_set1_ps(scales.step[r][g]), sums[r]);
    }
  }
  for (int r = 0; r < kRows; ++r) y[r] = _mm512_reduce_add_ps(sums[r]) - scales.offset[r];
}

// A register has the bytes of 128 values, whose halves may belong to two groups.
GLM_IMAGE_VNNI void four_rows_int4(const IntegerRows& rows, const SplitToken& x, const RowScales& scales, float* y) {
  const __m512i half = _mm512_set1_epi8(15);
  const int64_t in = rows.groups * rows.group, ahead = kRows * in / 2;
  __m512 sums[kRows];
  for (__m512& sum : sums) sum = _mm512_setzero_ps();
  int64_t first = 0, second = 64 / rows.group, in_first = 0, in_second = 64 % rows.group;  // groups, places in them
  for (int64_t i = 0; i < in; i += kTokenBlock) {
    const bool whole = i + kTokenBlock <= in;
    const __mmask64 mask = whole ? ~__mmask64{0} : __mmask64{0xFFFFFFFF};
    if (!whole) second = first;
    const __m512i even_top = _mm512_loadu_si512(x.high + i), odd_top = _mm512_loadu_si512(x.high + i + 64);
    const __m512i even_rest = _mm512_loadu_si512(x.low + i), odd_rest = _mm512_loadu_si512(x.low + i + 64);
    for (int r = 0; r < kRows; ++r) {
      const uint8_t* w = rows.w[static_cast<size_t>(r)] + i / 2;
      __builtin_prefetch(w + ahead, 0, 2);
      const __m512i both = _mm512_maskz_loadu_epi8(mask, w);
      const __m512i even = _mm512_and_si512(both, half), odd = _mm512_and_si512(_mm512_srli_epi16(both, 4), half);
      const __m512i zero = _mm512_setzero_si512();
      const __m512i high = _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(zero, even, even_top), odd, odd_top);
      const __m512i low = _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(zero, even, even_rest), odd, odd_rest);
      const __m512 step =
          _mm512_mask_blend_ps(0xFF00, _mm512_set1_ps(scales.step[r][first]), _mm512_set1_ps(scales.step[r][second]));
      sums[r] = _mm512_fmadd_ps(joined(high, low), step, sums[r]);
    }
    for (in_first += kTokenBlock; in_first >= rows.group; in_first -= rows.group) ++first;
    for (in_second += kTokenBlock; in_second >= rows.group; in_second -= rows.group) ++second;
  }
  for (int r = 0; r < kRows; ++r) y[r] = _mm512_reduce_add_ps(sums[r]) - scales.offset[r];
}

}  // namespace

bool multiplies_bytes() {
  static const bool has = __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vl") &&
                          __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                          __builtin_cpu_supports("fma");
  return has;
}

void multiply_bytes(Integers kind, const IntegerRows& rows, const SplitToken& x, float* y) {
  RowScales scales;
  multiply_scales(rows, x, scales);
  if (kind == Integers::int8) {
    four_rows_int8(rows, x, scales, y);
  } else {
    four_rows_int4(rows, x, scales, y);
  }
}

#else

bool multiplies_bytes() { return false; }

void multiply_bytes(Integers, const IntegerRows&, const SplitToken&, float*) {
  fail(ErrorKind::internal, "this processor has no products of bytes");
}

#endif

}  // namespace glmimage::kernels::cpu
