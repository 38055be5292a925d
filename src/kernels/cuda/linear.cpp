#include "kernels/cuda/linear.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/_convert_weight_to_int4pack.h>
#include <ATen/ops/_int_mm.h>
#include <ATen/ops/_weight_int4pack_mm.h>
#include <ATen/ops/addcmul.h>
#include <ATen/ops/as_strided.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/stack.h>

#include <vector>

#include "kernels/device_operator.h"

// Limits: pytorch v2.11, aten/src/ATen/native/cuda/Blas.cpp (_int_mm_out_cuda) and cuda/int4mm.cu.
namespace glmimage::kernels::cuda {
namespace {

using MaybeTensor = std::optional<at::Tensor>;

constexpr int64_t kFewTokens = 16;

bool no_gradient(const at::Tensor& x, const MaybeTensor& bias) {
  return !asks_for_gradient({x, bias.value_or(at::Tensor())});
}

int64_t tokens(const at::Tensor& x) { return x.size(-1) == 0 ? 0 : x.numel() / x.size(-1); }

bool are_tiles(const at::Tensor& q) { return q.scalar_type() == at::kInt && q.dim() == 4; }

at::Tensor rows(const at::Tensor& x) { return x.reshape({-1, x.size(-1)}).contiguous(); }

at::Tensor shaped_like(const at::Tensor& y, const at::Tensor& x) {
  std::vector<int64_t> shape = x.sizes().vec();
  shape.back() = y.size(-1);
  return y.view(shape);
}

// Tiles of 16 columns that stand behind each other: more make wider loads.
int64_t inner_tiles(int64_t columns) {
  for (const int64_t count : {8, 4, 2}) {
    if (columns % (16 * count) == 0) return count;
  }
  return 0;
}

// The scales and zeros of with_zeros, or anew of other scales: (groups, out, 2).
at::Tensor scales_and_zeros(const at::Tensor& scale) {
  const int64_t out = scale.size(0), groups = scale.size(1);
  const bool beside_zeros =
      scale.scalar_type() == at::kBFloat16 && scale.stride(0) == 2 && (groups == 1 || scale.stride(1) == 2 * out);
  const at::Tensor laid_out = beside_zeros ? scale : with_zeros(scale);
  return laid_out.as_strided({groups, out, 2}, {2 * out, 2, 1});
}

}  // namespace

bool can_multiply_bytes(const at::Tensor& x, const at::Tensor& q, const at::Tensor& scale, const MaybeTensor& bias) {
  return q.scalar_type() == at::kChar && q.dim() == 2 && scale.dim() == 2 && scale.size(1) == 1 &&
         scale.size(0) == q.size(0) && at::isFloatingType(x.scalar_type()) && x.dim() >= 1 && x.size(-1) == q.size(1) &&
         q.size(0) % 8 == 0 && q.size(1) % 8 == 0 && q.is_contiguous() && tokens(x) > kFewTokens &&
         no_gradient(x, bias);
}

at::Tensor multiply_bytes(const at::Tensor& x, const at::Tensor& q, const at::Tensor& scale, const MaybeTensor& bias) {
  const at::Tensor wide = rows(x).to(at::kFloat);                                                     // (M, in)
  const at::Tensor token_scale = wide.abs().amax({-1}, /*keepdim=*/true).div(127).clamp_min(1e-30f);  // (M, 1)
  const at::Tensor bytes = wide.div(token_scale).round().to(at::kChar);                               // (M, in)
  const at::Tensor sums = at::_int_mm(bytes, q.t()) * token_scale;  // (M, out) float32
  const at::Tensor row_scale = scale.view({1, -1}).to(at::kFloat);  // (1, out)
  const at::Tensor y = bias ? at::addcmul(bias->to(at::kFloat), sums, row_scale) : sums * row_scale;
  return shaped_like(y.to(x.scalar_type()), x);
}

bool can_tile(const at::Tensor& q, const at::Tensor& scale) {
  if (q.scalar_type() != at::kByte || q.dim() != 2 || scale.dim() != 2 || scale.size(0) != q.size(0)) return false;
  const int64_t in = 2 * q.size(1), groups = scale.size(1);
  if (q.size(0) % 8 != 0 || inner_tiles(in) == 0 || groups < 1 || in % groups != 0) return false;
  const int64_t group = in / groups;
  return group == 32 || group == 64 || group == 128 || group == 256;
}

at::Tensor tiles(const at::Tensor& q) {
  // The operator wants the first of two values in the high half of a byte; ours is in the low one.
  const at::Tensor swapped = q.bitwise_left_shift(4).bitwise_or(q.bitwise_right_shift(4));
  return at::_convert_weight_to_int4pack(swapped.contiguous(), inner_tiles(2 * q.size(1)));
}

at::Tensor from_tiles(const at::Tensor& q) {
  // A word of lane t holds row t / 4 of eight and, of two tiles of 16 columns, the columns 8i + 2(t mod 4) + h: value i
  // of half h stands at the bits 4i + 16h.
  const int64_t out = 8 * q.size(0), outer = q.size(1), words = q.size(3);
  std::vector<at::Tensor> bytes;
  for (int64_t i = 0; i < 4; ++i) {
    const at::Tensor even = q.bitwise_right_shift(4 * i).bitwise_and(15);
    const at::Tensor odd = q.bitwise_right_shift(4 * i + 16).bitwise_and(15);
    bytes.push_back(odd.bitwise_left_shift(4).bitwise_or(even).to(at::kByte));
  }
  return at::stack(bytes, -1)                  // (out/8, outer, 32, words, 4)
      .view({out / 8, outer, 8, 4, words, 4})  // 32 lanes: 8 rows, 4 pairs of columns
      .permute({0, 2, 1, 4, 5, 3})             // (out/8, 8, outer, words, 4, 4)
      .reshape({out, outer * words * 16});     // 16 bytes to two tiles
}

at::Tensor with_zeros(const at::Tensor& scale) {
  const int64_t out = scale.size(0), groups = scale.size(1);
  const at::Tensor both = at::empty({groups, out, 2}, scale.options().dtype(at::kBFloat16));
  both.zero_();
  const at::Tensor view = both.select(2, 0).t();  // (out, groups)
  view.copy_(scale);
  return view;
}

bool can_multiply_tiles(const at::Tensor& x, const at::Tensor& q, const at::Tensor& scale, const MaybeTensor& bias) {
  return are_tiles(q) && x.scalar_type() == at::kBFloat16 && x.dim() >= 1 && x.size(-1) == q.size(1) * 32 * q.size(3) &&
         scale.dim() == 2 && scale.size(0) == 8 * q.size(0) && q.is_contiguous() && tokens(x) >= 1 &&
         tokens(x) <= kFewTokens && no_gradient(x, bias);
}

at::Tensor multiply_tiles(const at::Tensor& x, const at::Tensor& q, const at::Tensor& scale, const MaybeTensor& bias) {
  const at::Tensor y = at::_weight_int4pack_mm(rows(x), q, x.size(-1) / scale.size(1), scales_and_zeros(scale));
  return shaped_like(bias ? y + *bias : y, x);
}

}  // namespace glmimage::kernels::cuda
