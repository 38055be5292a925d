#include "kernels/cpu/attention.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "core/error.h"
#include "kernels/cpu/intrinsics.h"
#include "kernels/cpu/parallel.h"

namespace glmimage::kernels::cpu {

#if defined(__x86_64__)

#define GLM_IMAGE_BF16 __attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,avx512bf16,fma")))

namespace {

constexpr int64_t kLanes = 16;            // pairs of bfloat16 in a register, and sums
constexpr int64_t kPanel = 4 * kLanes;    // keys, or places of a value, that are worked on side by side
constexpr int64_t kRows = 6;              // queries at once: 6 x 4 registers of sums
constexpr int64_t kQueries = 16 * kRows;  // of one piece of work
constexpr int64_t kKeys = 4 * kPanel;     // of one pass: their panels and the scores fit the second cache
constexpr float kNone = -1e30F;  // the score of a key that is not there: finite, so that differences are numbers

int64_t panels(int64_t count) { return (count + kPanel - 1) / kPanel; }

// Pairs of bfloat16 as the products read them: of a panel, for each pair of terms one register for every 16 results.
struct Packed {
  int64_t keys, width;      // Tk, D
  std::vector<uint32_t> k;  // (heads, panels of keys, D / 2, 64): terms are places of a key
  std::vector<uint32_t> v;  // (heads, passes of kKeys keys, panels of D, kKeys / 2, 64): terms are keys
  int64_t k_stride() const { return panels(keys) * kPanel * width / 2; }
  int64_t v_stride() const { return (keys + kKeys - 1) / kKeys * kKeys * width / 2; }
};

uint32_t pair(uint16_t first, uint16_t second) { return first | static_cast<uint32_t>(second) << 16; }

// One head's 64 keys, `there` of which exist; the others are zeros.
void pack_keys(const uint16_t* from, int64_t stride, int64_t there, int64_t width, uint32_t* to) {
  for (int64_t key = 0; key < kPanel; ++key) {
    for (int64_t d = 0; d < width; d += 2) {
      to[d / 2 * kPanel + key] = key < there ? pair(from[key * stride + d], from[key * stride + d + 1]) : 0;
    }
  }
}

// One head's values of kKeys keys.
void pack_values(const uint16_t* from, int64_t stride, int64_t there, int64_t width, uint32_t* to) {
  for (int64_t key = 0; key < kKeys; key += 2) {
    const uint16_t *first = from + key * stride, *second = first + stride;
    for (int64_t d = 0; d < width; ++d) {
      uint32_t* place = to + d / kPanel * kPanel * kKeys / 2 + key / 2 * kPanel + d % kPanel;
      *place = pair(key < there ? first[d] : 0, key + 1 < there ? second[d] : 0);
    }
  }
}

const uint16_t* bits(const at::Tensor& t) { return static_cast<const uint16_t*>(t.const_data_ptr()); }

Packed pack(const at::Tensor& k, const at::Tensor& v) {
  const int64_t heads = k.size(1), all = k.size(0) * heads;
  Packed out{k.size(2), k.size(3), {}, {}};
  out.k.resize(static_cast<size_t>(all * out.k_stride()));
  out.v.resize(static_cast<size_t>(all * out.v_stride()));
  const int64_t passes = (out.keys + kKeys - 1) / kKeys;
  parallel_rows(all * passes, kKeys * out.width, [&](int64_t piece, int64_t last) {
    for (; piece < last; ++piece) {
      const int64_t head = piece / passes, first = piece % passes * kKeys;
      const auto start = [&](const at::Tensor& t) {
        return bits(t) + head / heads * t.stride(0) + head % heads * t.stride(1) + first * t.stride(2);
      };
      for (int64_t p = 0; p < kKeys / kPanel && first + p * kPanel < out.keys; ++p) {
        pack_keys(start(k) + p * kPanel * k.stride(2), k.stride(2), out.keys - first - p * kPanel, out.width,
                  out.k.data() + head * out.k_stride() + (first / kPanel + p) * kPanel * out.width / 2);
      }
      pack_values(start(v), v.stride(2), out.keys - first, out.width,
                  out.v.data() + head * out.v_stride() + first * out.width / 2);
    }
  });
  return out;
}

GLM_IMAGE_BF16 inline __m512bh as_pairs(__m512i v) { return reinterpret_cast<__m512bh>(v); }

// sums[r][0…63] (+)= pairs of `terms` / 2 of row r times the panel. Rows are `a` apart, sums `c`.
template <int64_t rows, bool adds>
GLM_IMAGE_BF16 inline void multiply_rows(const uint16_t* a, int64_t a_stride, const uint32_t* panel, int64_t terms,
                                         float* c, int64_t c_stride) {
  __m512 sums[rows][4];
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t j = 0; j < 4; ++j) {
      sums[r][j] = adds ? _mm512_loadu_ps(c + r * c_stride + j * kLanes) : _mm512_setzero_ps();
    }
  }
  for (int64_t i = 0; i < terms / 2; ++i, panel += kPanel) {
    __m512bh b[4];
    for (int64_t j = 0; j < 4; ++j) b[j] = as_pairs(_mm512_loadu_si512(panel + j * kLanes));
    for (int64_t r = 0; r < rows; ++r) {
      int32_t both;
      __builtin_memcpy(&both, a + r * a_stride + 2 * i, sizeof both);
      const __m512bh x = as_pairs(_mm512_set1_epi32(both));
      for (int64_t j = 0; j < 4; ++j) sums[r][j] = _mm512_dpbf16_ps(sums[r][j], x, b[j]);
    }
  }
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t j = 0; j < 4; ++j) _mm512_storeu_ps(c + r * c_stride + j * kLanes, sums[r][j]);
  }
}

template <bool adds>
GLM_IMAGE_BF16 void multiply(int64_t rows, const uint16_t* a, int64_t a_stride, const uint32_t* panel, int64_t terms,
                             float* c, int64_t c_stride) {
  for (; rows >= kRows; rows -= kRows, a += kRows * a_stride, c += kRows * c_stride) {
    multiply_rows<kRows, adds>(a, a_stride, panel, terms, c, c_stride);
  }
  switch (rows) {
    case 5: return multiply_rows<5, adds>(a, a_stride, panel, terms, c, c_stride);
    case 4: return multiply_rows<4, adds>(a, a_stride, panel, terms, c, c_stride);
    case 3: return multiply_rows<3, adds>(a, a_stride, panel, terms, c, c_stride);
    case 2: return multiply_rows<2, adds>(a, a_stride, panel, terms, c, c_stride);
    case 1: return multiply_rows<1, adds>(a, a_stride, panel, terms, c, c_stride);
    default: return;
  }
}

// 2^x of x <= 0, to 1e-7 of the result: x = n + r, |r| <= 1/2, 2^r by its series.
GLM_IMAGE_BF16 inline __m512 power_of_two(__m512 x) {
  const __m512 n = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC), r = _mm512_sub_ps(x, n);
  __m512 p = _mm512_set1_ps(1.5403530e-4F);
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.3333558e-3F));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(9.6181291e-3F));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(5.5504109e-2F));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(2.4022651e-1F));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(6.9314718e-1F));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0F));
  return _mm512_scalef_ps(p, n);
}

// What one piece of work holds.
struct Work {
  alignas(64) float scores[kQueries * kKeys];
  alignas(64) uint16_t weights[kQueries * kKeys];
  std::array<float, kQueries> most, sum;
  std::vector<float> mixed;  // (queries, D)
};

// One row's scores -> weights, the largest score so far and the sum of the weights; what was mixed before shrinks.
// `scale` is in units of ln 2.
GLM_IMAGE_BF16 void weigh(Work& work, int64_t row, int64_t count, float scale, int64_t width) {
  float* scores = work.scores + row * kKeys;
  for (int64_t i = count; i < kKeys; ++i) scores[i] = kNone;
  __m512 largest = _mm512_set1_ps(kNone);
  for (int64_t i = 0; i < kKeys; i += kLanes) largest = _mm512_max_ps(largest, _mm512_load_ps(scores + i));
  const auto r = static_cast<size_t>(row);
  const float most = std::max(work.most[r], _mm512_reduce_max_ps(largest) * scale);
  const __m512 scales = _mm512_set1_ps(scale), off = _mm512_set1_ps(-most);
  __m512 sum = _mm512_setzero_ps();
  for (int64_t i = 0; i < kKeys; i += kLanes) {
    const __m512 weight = power_of_two(_mm512_fmadd_ps(_mm512_load_ps(scores + i), scales, off));
    sum = _mm512_add_ps(sum, weight);
    _mm256_store_si256(reinterpret_cast<__m256i*>(work.weights + row * kKeys + i),
                       reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(weight)));
  }
  const float shrink = std::exp2(work.most[r] - most);  // 0 at first, when nothing is mixed yet
  work.sum[r] = work.sum[r] * shrink + _mm512_reduce_add_ps(sum);
  work.most[r] = most;
  if (shrink == 1) return;
  for (int64_t d = 0; d < width; d += kLanes) {
    float* at = work.mixed.data() + row * width + d;
    _mm512_storeu_ps(at, _mm512_mul_ps(_mm512_loadu_ps(at), _mm512_set1_ps(shrink)));
  }
}

GLM_IMAGE_BF16 void write(const Work& work, int64_t row, int64_t width, uint16_t* to) {
  const __m512 share = _mm512_set1_ps(1 / work.sum[static_cast<size_t>(row)]);
  for (int64_t d = 0; d < width; d += kLanes) {
    const __m512 y = _mm512_mul_ps(_mm512_loadu_ps(work.mixed.data() + row * width + d), share);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + d), reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(y)));
  }
}

// Some queries of one head.
struct Piece {
  const uint16_t* q;
  int64_t q_stride, first, count;  // the first query's place, how many
  const uint32_t *k, *v;           // packed
  uint16_t* y;
  int64_t y_stride;
};

void attend_piece(const Piece& piece, const Packed& packed, float scale, Mask mask, Work& work) {
  const int64_t width = packed.width;
  work.most.fill(std::numeric_limits<float>::lowest());
  work.sum.fill(0);
  work.mixed.assign(static_cast<size_t>(kQueries * width), 0);
  const int64_t seen = mask == Mask::causal ? piece.first + piece.count : packed.keys;
  for (int64_t first = 0; first < seen; first += kKeys) {
    const int64_t there = std::min(kKeys, seen - first);
    for (int64_t p = 0; p < panels(there); ++p) {
      multiply<false>(piece.count, piece.q, piece.q_stride, piece.k + (first + p * kPanel) * width / 2, width,
                      work.scores + p * kPanel, kKeys);
    }
    for (int64_t row = 0; row < piece.count; ++row) {
      const int64_t visible = mask == Mask::causal ? piece.first + row + 1 - first : there;
      weigh(work, row, std::clamp<int64_t>(visible, 0, there), scale, width);
    }
    const int64_t terms = (there + 1) / 2 * 2;  // a pass's panels are as long as kKeys, whatever is there
    for (int64_t d = 0; d < width; d += kPanel) {
      multiply<true>(piece.count, work.weights, kKeys, piece.v + first * width / 2 + d * kKeys / 2, terms,
                     work.mixed.data() + d, width);
    }
  }
  for (int64_t row = 0; row < piece.count; ++row) write(work, row, width, piece.y + row * piece.y_stride);
}

}  // namespace

bool can_attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const AttentionOptions& options) {
  static const bool has = __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vl") &&
                          __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                          !__builtin_cpu_supports("amx-bf16");
  const auto fits = [](const at::Tensor& t) {
    return t.device().is_cpu() && t.scalar_type() == at::kBFloat16 && t.dim() == 4 && t.stride(3) == 1;
  };
  constexpr int64_t kSeveral = 64;  // fewer do not repay packing keys and values
  return has && !options.bias && !options.keys && options.scale.value_or(1) > 0 && fits(q) && fits(k) && fits(v) &&
         q.size(3) % kPanel == 0 && q.size(2) >= kSeveral && k.size(2) > 0 && q.size(3) == k.size(3) &&
         k.sizes() == v.sizes() && q.size(0) == k.size(0) && k.size(1) > 0 && q.size(1) % k.size(1) == 0 &&
         (options.mask == Mask::none || q.size(2) == k.size(2));
}

at::Tensor attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const AttentionOptions& options) {
  const int64_t batch = q.size(0), heads = q.size(1), queries = q.size(2), width = q.size(3), kv_heads = k.size(1);
  const double scale = options.scale.value_or(1 / std::sqrt(static_cast<double>(width)));
  constexpr double kLog2E = 1.4426950408889634;
  const Packed packed = pack(k, v);
  const at::Tensor out = at::empty({batch, queries, heads, width}, q.options());
  auto* y = static_cast<uint16_t*>(out.mutable_data_ptr());
  const int64_t pieces = (queries + kQueries - 1) / kQueries;
  at::parallel_for(0, batch * heads * pieces, 1, [&](int64_t at, int64_t last) {
    const auto work = std::make_unique<Work>();
    for (; at < last; ++at) {
      const int64_t head = at / pieces % heads, sample = at / pieces / heads, first = at % pieces * kQueries;
      const int64_t kv = sample * kv_heads + head / (heads / kv_heads);
      attend_piece({.q = bits(q) + sample * q.stride(0) + head * q.stride(1) + first * q.stride(2),
                    .q_stride = q.stride(2),
                    .first = first,
                    .count = std::min(kQueries, queries - first),
                    .k = packed.k.data() + kv * packed.k_stride(),
                    .v = packed.v.data() + kv * packed.v_stride(),
                    .y = y + ((sample * queries + first) * heads + head) * width,
                    .y_stride = heads * width},
                   packed, static_cast<float>(scale * kLog2E), options.mask, *work);
    }
  });
  return out.transpose(1, 2);
}

#else

bool can_attend(const at::Tensor&, const at::Tensor&, const at::Tensor&, const AttentionOptions&) { return false; }

at::Tensor attend(const at::Tensor&, const at::Tensor&, const at::Tensor&, const AttentionOptions&) {
  fail(ErrorKind::internal, "this processor has no products of bfloat16");
}

#endif

}  // namespace glmimage::kernels::cpu
