#include "kernels/cpu/integer_rows.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

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
      const int64_t block = i / kIntegerBlock * kIntegerBlock, place = i - block;
      const int64_t to = kind == Integers::int8 ? i : block + place / 2 + place % 2 * (kIntegerBlock / 2);
      high[to] = static_cast<int8_t>(top);
      low[to] = static_cast<int8_t>(whole - 256 * top);
      sum += whole;
    }
    scale[g] = step;
    offset[g] = step * static_cast<float>(shift * sum);
  }
}

#if defined(__x86_64__)

#define GLM_IMAGE_VNNI __attribute__((target("avx512f,avx512vl,avx512bw,avx512vnni,fma")))

namespace {

GLM_IMAGE_VNNI inline __m256i bytes_at(const void* from) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(from));
}

GLM_IMAGE_VNNI inline float sum_of(__m256 v) {
  const __m128 half = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  const __m128 quarter = _mm_add_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_add_ss(quarter, _mm_movehdup_ps(quarter)));
}

// 64 unsigned bytes in two registers.
struct Block {
  __m256i first, second;
};

template <Integers kind>
GLM_IMAGE_VNNI inline Block block_at(const uint8_t* w, int64_t i) {
  if constexpr (kind == Integers::int8) {  // plus 128: the products want one side unsigned
    const __m256i shift = _mm256_set1_epi8(-128);
    return {_mm256_xor_si256(bytes_at(w + i), shift), _mm256_xor_si256(bytes_at(w + i + 32), shift)};
  } else {
    const __m256i both = bytes_at(w + i / 2), half = _mm256_set1_epi8(15);
    return {_mm256_and_si256(both, half), _mm256_and_si256(_mm256_srli_epi16(both, 4), half)};
  }
}

template <Integers kind>
GLM_IMAGE_VNNI void four_rows(const IntegerRows& rows, const SplitToken& x, float* y) {
  __m256 sums[kRows] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps()};
  float offsets[kRows] = {};
  constexpr int64_t kValuesPerByte = kind == Integers::int8 ? 1 : 2;
  const int64_t ahead = kRows * rows.groups * rows.group / kValuesPerByte;  // bytes to the next four rows
  for (int64_t g = 0; g < rows.groups; ++g) {
    __m256i high[kRows], low[kRows];
    for (int r = 0; r < kRows; ++r) high[r] = low[r] = _mm256_setzero_si256();
    for (int64_t i = g * rows.group; i < (g + 1) * rows.group; i += kIntegerBlock) {
      const __m256i high_first = bytes_at(x.high + i), high_second = bytes_at(x.high + i + 32);
      const __m256i low_first = bytes_at(x.low + i), low_second = bytes_at(x.low + i + 32);
      for (int r = 0; r < kRows; ++r) {
        __builtin_prefetch(rows.w[r] + i / kValuesPerByte + ahead, 0, 2);
        const Block block = block_at<kind>(rows.w[r], i);
        high[r] = _mm256_dpbusd_epi32(high[r], block.first, high_first);
        low[r] = _mm256_dpbusd_epi32(low[r], block.first, low_first);
        high[r] = _mm256_dpbusd_epi32(high[r], block.second, high_second);
        low[r] = _mm256_dpbusd_epi32(low[r], block.second, low_second);
      }
    }
    for (int r = 0; r < kRows; ++r) {
      const float scale = rows.scale[r].at(g);
      // Not joined as integers: a long group's would not fit 32 bits.
      const __m256 whole =
          _mm256_fmadd_ps(_mm256_cvtepi32_ps(high[r]), _mm256_set1_ps(256), _mm256_cvtepi32_ps(low[r]));
      sums[r] = _mm256_fmadd_ps(whole, _mm256_set1_ps(scale * x.scale[g]), sums[r]);
      offsets[r] += scale * x.offset[g];
    }
  }
  for (int r = 0; r < kRows; ++r) y[r] = sum_of(sums[r]) - offsets[r];
}

}  // namespace

bool multiplies_bytes() {
  static const bool has = __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vl") &&
                          __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("fma");
  return has;
}

void multiply_bytes(Integers kind, const IntegerRows& rows, const SplitToken& x, float* y) {
  if (kind == Integers::int8) {
    four_rows<Integers::int8>(rows, x, y);
  } else {
    four_rows<Integers::int4>(rows, x, y);
  }
}

#else

bool multiplies_bytes() { return false; }

void multiply_bytes(Integers, const IntegerRows&, const SplitToken&, float*) {
  fail(ErrorKind::internal, "this processor has no products of bytes");
}

#endif

}  // namespace glmimage::kernels::cpu
