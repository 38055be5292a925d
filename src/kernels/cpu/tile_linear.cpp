#include "kernels/cpu/tile_linear.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/error.h"
#include "kernels/cpu/intrinsics.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/takes.h"

namespace glmimage::kernels::cpu {

#if defined(__x86_64__)

#define GLM_IMAGE_AVX512 __attribute__((target("avx512f,avx512dq,avx512vl,fma")))

namespace {

constexpr int64_t kLanes = 16;            // tokens of a register
constexpr int64_t kPanel = 3 * kLanes;    // tokens of a tile
constexpr int64_t kTileRows = 8;          // rows of the matrix in a tile: 24 sums stay in registers
constexpr int64_t kLaidValues = 1 << 20;  // of tokens a thread lays before it multiplies; more leave its caches
constexpr int64_t kThreadRows = 128;      // rows that are worth laying the tokens for

// Four registers, seen as 4 x 4 values in each quarter, transposed there.
GLM_IMAGE_AVX512 inline void transpose_quarters(__m512& a, __m512& b, __m512& c, __m512& d) {
  const __m512 ab_low = _mm512_unpacklo_ps(a, b), ab_high = _mm512_unpackhi_ps(a, b);
  const __m512 cd_low = _mm512_unpacklo_ps(c, d), cd_high = _mm512_unpackhi_ps(c, d);
  a = _mm512_shuffle_ps(ab_low, cd_low, 0x44), b = _mm512_shuffle_ps(ab_low, cd_low, 0xEE);
  c = _mm512_shuffle_ps(ab_high, cd_high, 0x44), d = _mm512_shuffle_ps(ab_high, cd_high, 0xEE);
}

// Sixteen rows of sixteen values -> to[i * step + row].
GLM_IMAGE_AVX512 inline void lay_square(const float* const* rows, int64_t i, float* to, int64_t step) {
  __m512 r[kLanes];
  for (int t = 0; t < kLanes; ++t) r[t] = _mm512_loadu_ps(rows[t] + i);
  for (int g = 0; g < kLanes; g += 4) transpose_quarters(r[g], r[g + 1], r[g + 2], r[g + 3]);
  for (int q = 0; q < 4; ++q) {  // quarter l of r[4·g + q]: value 4·l + q of rows 4·g…
    const __m512 a = _mm512_shuffle_f32x4(r[q], r[4 + q], 0x44), b = _mm512_shuffle_f32x4(r[q], r[4 + q], 0xEE);
    const __m512 c = _mm512_shuffle_f32x4(r[8 + q], r[12 + q], 0x44),
                 d = _mm512_shuffle_f32x4(r[8 + q], r[12 + q], 0xEE);
    _mm512_storeu_ps(to + q * step, _mm512_shuffle_f32x4(a, c, 0x88));
    _mm512_storeu_ps(to + (4 + q) * step, _mm512_shuffle_f32x4(a, c, 0xDD));
    _mm512_storeu_ps(to + (8 + q) * step, _mm512_shuffle_f32x4(b, d, 0x88));
    _mm512_storeu_ps(to + (12 + q) * step, _mm512_shuffle_f32x4(b, d, 0xDD));
  }
}

// `count` rows of `in` values, up to sixteen -> to[i * step + row]. Rows that are not there repeat the last one.
GLM_IMAGE_AVX512 void lay_rows(const float* from, int64_t count, int64_t in, float* to, int64_t step) {
  const float* rows[kLanes];
  for (int64_t r = 0; r < kLanes; ++r) rows[r] = from + std::min(r, count - 1) * in;
  int64_t i = 0;
  for (; i + kLanes <= in; i += kLanes) lay_square(rows, i, to + i * step, step);
  for (; i < in; ++i) {
    for (int64_t r = 0; r < kLanes; ++r) to[i * step + r] = rows[r][i];
  }
}

struct Tile {
  const float* w;  // [in][kLanes]
  float bias[kTileRows];
  int64_t rows, tokens, in;  // rows and tokens that are there
};

// The sums of one register of tokens: sixteen tokens of eight neighbouring values.
GLM_IMAGE_AVX512 inline void store_sums(__m512* sums, int64_t rows, int64_t tokens, float* y, int64_t out) {
  if (rows == kTileRows && tokens >= kLanes) {
    transpose_quarters(sums[0], sums[1], sums[2], sums[3]);
    transpose_quarters(sums[4], sums[5], sums[6], sums[7]);
    for (int64_t q = 0; q < 4; ++q) {
      for (int64_t half = 0; half < 2; ++half) {
        const __m512 four = sums[4 * half + q];
        float* to = y + q * out + 4 * half;
        _mm_storeu_ps(to, _mm512_castps512_ps128(four));
        _mm_storeu_ps(to + 4 * out, _mm512_extractf32x4_ps(four, 1));
        _mm_storeu_ps(to + 8 * out, _mm512_extractf32x4_ps(four, 2));
        _mm_storeu_ps(to + 12 * out, _mm512_extractf32x4_ps(four, 3));
      }
    }
    return;
  }
  alignas(64) float values[kTileRows][kLanes];
  for (int64_t r = 0; r < kTileRows; ++r) _mm512_store_ps(values[r], sums[r]);
  for (int64_t t = 0; t < std::min(tokens, kLanes); ++t) {
    for (int64_t r = 0; r < rows; ++r) y[t * out + r] = values[r][t];
  }
}

template <int kCount>
GLM_IMAGE_AVX512 void multiply_tile(const Tile& tile, const float* x, int64_t step, float* y, int64_t out) {
  __m512 sums[kCount][kTileRows];
  for (int v = 0; v < kCount; ++v) {
    for (int r = 0; r < kTileRows; ++r) sums[v][r] = _mm512_set1_ps(tile.bias[r]);
  }
  for (int64_t i = 0; i < tile.in; ++i, x += step) {
    __m512 tokens[kCount];
    for (int v = 0; v < kCount; ++v) tokens[v] = _mm512_loadu_ps(x + v * kLanes);
#pragma GCC unroll 8
    for (int r = 0; r < kTileRows; ++r) {
      const __m512 value = _mm512_set1_ps(tile.w[i * kLanes + r]);
#pragma GCC unroll 3
      for (int v = 0; v < kCount; ++v) sums[v][r] = _mm512_fmadd_ps(value, tokens[v], sums[v][r]);
    }
  }
#pragma GCC unroll 3
  for (int v = 0; v < kCount; ++v) store_sums(sums[v], tile.rows, tile.tokens - v * kLanes, y + v * kLanes * out, out);
}

struct Product {
  const float *x, *weight, *bias;
  float* y;
  int64_t tokens, in, out;
};

// Eight rows of the matrix with all tokens, which lie as lay_rows puts them, panel behind panel.
void multiply_rows(const Product& p, const float* laid, const float* w, int64_t row) {
  Tile tile{.w = w, .bias = {}, .rows = std::min(kTileRows, p.out - row), .tokens = 0, .in = p.in};
  for (int64_t r = 0; r < tile.rows; ++r) tile.bias[r] = p.bias ? p.bias[row + r] : 0;
  for (int64_t token = 0; token < p.tokens; token += kPanel) {
    tile.tokens = std::min(kPanel, p.tokens - token);
    const float* x = laid + token * p.in;
    float* y = p.y + token * p.out + row;
    const int64_t vectors = (tile.tokens + kLanes - 1) / kLanes, step = vectors * kLanes;
    if (vectors == 1) multiply_tile<1>(tile, x, step, y, p.out);
    if (vectors == 2) multiply_tile<2>(tile, x, step, y, p.out);
    if (vectors == 3) multiply_tile<3>(tile, x, step, y, p.out);
  }
}

// Room for `count` values that begin a cache line. Kept from product to product: what is asked for anew each time comes
// from the system page by page.
float* scratch(int64_t count) {
  constexpr size_t kLine = 64;
  thread_local std::vector<float> room;
  const auto wanted = static_cast<size_t>(count) + kLine / sizeof(float);
  if (room.size() < wanted) room.resize(wanted);
  void* start = room.data();
  size_t bytes = room.size() * sizeof(float);
  return static_cast<float*>(std::align(kLine, static_cast<size_t>(count) * sizeof(float), start, bytes));
}

// All tokens with the rows of the matrix [first, last), in sixteens. Every thread lays the tokens for itself: that is
// cheaper than to fetch what another core has written.
void multiply_groups(const Product& p, int64_t first, int64_t last) {
  const int64_t blocks = (p.tokens + kLanes - 1) / kLanes;
  float* const tokens = scratch((blocks + 1) * kLanes * p.in);
  float* const rows = tokens + blocks * kLanes * p.in;
  for (int64_t token = 0; token < p.tokens; token += kLanes) {
    const int64_t panel = token / kPanel * kPanel;
    const int64_t step = std::min(kPanel, blocks * kLanes - panel);  // tokens that lie side by side here
    lay_rows(p.x + token * p.in, std::min(kLanes, p.tokens - token), p.in, tokens + panel * p.in + token - panel, step);
  }
  for (int64_t group = first; group < last; ++group) {
    const int64_t row = group * kLanes;
    lay_rows(p.weight + row * p.in, std::min(kLanes, p.out - row), p.in, rows, kLanes);
    multiply_rows(p, tokens, rows, row);
    if (row + kTileRows < p.out) multiply_rows(p, tokens, rows + kTileRows, row + kTileRows);
  }
}

void multiply(const Product& p) {
  const int64_t parts = (p.tokens * p.in + kLaidValues - 1) / kLaidValues;
  const int64_t part = ((p.tokens + parts - 1) / parts + kPanel - 1) / kPanel * kPanel;  // tokens laid at once
  parallel_rows((p.out + kLanes - 1) / kLanes, p.in * p.tokens, [&](int64_t first, int64_t last) {
    for (int64_t token = 0; token < p.tokens; token += part) {
      Product some = p;
      some.x += token * p.in, some.y += token * p.out;
      some.tokens = std::min(part, p.tokens - token);
      multiply_groups(some, first, last);
    }
  });
}

// MKL's own kernels for AVX-512 run on Intel's processors alone; against those nothing has been measured.
bool worth_tiles() {
  static const bool worth = __builtin_cpu_is("amd") && __builtin_cpu_supports("avx512f") &&
                            __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  return worth;
}

}  // namespace

bool can_tile(const at::Tensor& x, const at::Tensor& weight, const std::optional<at::Tensor>& bias) {
  if (!worth_tiles() || !is_float_on_cpu(x) || !is_float_on_cpu(weight) || weight.dim() != 2 || x.dim() < 1 ||
      !weight.is_contiguous() || x.size(-1) != weight.size(1) || x.numel() == 0) {
    return false;
  }
  if (bias && (!is_float_on_cpu(*bias) || !bias->is_contiguous() || bias->numel() != weight.size(0))) return false;
  return x.numel() >= kLanes * x.size(-1) && weight.size(0) >= kThreadRows * at::get_num_threads();
}

at::Tensor tile_linear(const at::Tensor& x, const at::Tensor& weight, const std::optional<at::Tensor>& bias) {
  const at::Tensor rows = x.contiguous();
  const int64_t in = weight.size(1), out = weight.size(0);
  std::vector<int64_t> shape = x.sizes().vec();
  shape.back() = out;
  at::Tensor y = at::empty(shape, x.options());
  multiply({.x = rows.const_data_ptr<float>(),
            .weight = weight.const_data_ptr<float>(),
            .bias = bias ? bias->const_data_ptr<float>() : nullptr,
            .y = y.mutable_data_ptr<float>(),
            .tokens = x.numel() / in,
            .in = in,
            .out = out});
  return y;
}

#else

bool can_tile(const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&) { return false; }

at::Tensor tile_linear(const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&) {
  fail(ErrorKind::internal, "tile_linear: not on this processor");
}

#endif

}  // namespace glmimage::kernels::cpu
