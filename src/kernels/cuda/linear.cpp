#include "kernels/cuda/linear.h"

#include <ATen/ops/addmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>

#include <vector>

#include "kernels/cuda/arguments.h"
#include "kernels/cuda/runtime.h"
#include "kernels/linear.h"

namespace glmimage::kernels::cuda {
namespace {

using MaybeTensor = std::optional<at::Tensor>;

constexpr Kernel kFloats{"linear", "vector_floats"}, kBytes{"linear", "vector_bytes"},
    kHalves{"linear", "vector_halves"}, kFromBytes{"linear", "dequantise_bytes"},
    kFromHalves{"linear", "dequantise_halves"};
constexpr int kThreads = 128, kWarps = kThreads / 32, kDequantiseThreads = 256, kDequantised = 16;
constexpr int64_t kWholeRows = 128;  // of a tile of the library's products

bool is_one_token(const at::Tensor& x, int64_t in, const MaybeTensor& bias) {
  return x.dim() >= 1 && x.size(-1) == in && x.numel() == in && x.is_contiguous() && in_chunks(x) &&
         (!bias || (bias->is_contiguous() && serves({x, *bias})));
}

bool is_matrix(const at::Tensor& weight) {
  return weight.dim() == 2 && weight.numel() > 0 && weight.is_contiguous() && in_chunks(weight);
}

// Integers with scales whose groups are covered by whole loads of `values`.
bool is_quantised(const at::Tensor& q, const at::Tensor& scale, int64_t values) {
  const bool bytes = q.scalar_type() == at::kChar, halves = q.scalar_type() == at::kByte;
  const bool scales = scale.dim() == 2 && scale.is_contiguous() && scale.device() == q.device() &&
                      (scale.scalar_type() == at::kFloat || scale.scalar_type() == at::kBFloat16);
  if (!(bytes || halves) || !scales || !is_matrix(q) || scale.size(0) != q.size(0) || scale.size(1) < 1) return false;
  const int64_t in = input_width(q);
  return in % scale.size(1) == 0 && in / scale.size(1) % values == 0;
}

at::Tensor start_vector(const Kernel& kernel, int64_t rows_of_a_warp, const at::Tensor& x, const at::Tensor& weight,
                        const MaybeTensor& scale, const MaybeTensor& bias) {
  const int64_t out = weight.size(0);
  std::vector<int64_t> shape = x.sizes().vec();
  shape.back() = out;
  const at::Tensor y = at::empty(shape, x.options());
  const VectorArguments arguments{.x = x.const_data_ptr(),
                                  .weight = weight.const_data_ptr(),
                                  .scale = scale ? scale->const_data_ptr() : nullptr,
                                  .bias = bias ? bias->const_data_ptr() : nullptr,
                                  .y = y.mutable_data_ptr(),
                                  .in = static_cast<int>(x.size(-1)),
                                  .out = static_cast<int>(out),
                                  .groups = scale ? static_cast<int>(scale->size(1)) : 1,
                                  .scale_is_float = scale && scale->scalar_type() == at::kFloat};
  const int64_t rows = rows_of_a_warp * kWarps;
  runtime().start(
      kernel, {.device = x.device(), .type = x.scalar_type(), .blocks = (out + rows - 1) / rows, .threads = kThreads},
      &arguments);
  return y;
}

// (rows, in) -> y (rows, out), which is written.
void product_into(at::Tensor y, const at::Tensor& x, const at::Tensor& weight, const MaybeTensor& bias) {
  if (bias) {
    at::addmm_out(y, *bias, x, weight.t());
  } else {
    at::mm_out(y, x, weight.t());
  }
}

}  // namespace

bool can_split(const at::Tensor& x, const at::Tensor& weight, const MaybeTensor& bias) {
  constexpr int64_t kMany = 2048;
  if (x.dim() < 2 || x.size(-1) == 0 || !x.is_contiguous() || !serves({x, weight}) || weight.dim() != 2) return false;
  if (bias && !serves({x, *bias})) return false;
  const int64_t rows = x.numel() / x.size(-1);
  return x.scalar_type() != at::kFloat && rows >= kMany && rows % kWholeRows != 0;
}

at::Tensor multiply_split(const at::Tensor& x, const at::Tensor& weight, const MaybeTensor& bias) {
  const at::Tensor rows = x.view({-1, x.size(-1)});
  const at::Tensor y = at::empty({rows.size(0), weight.size(0)}, x.options());
  const int64_t rest = rows.size(0) % kWholeRows, whole = rows.size(0) - rest;
  product_into(y.narrow(0, 0, whole), rows.narrow(0, 0, whole), weight, bias);
  product_into(y.narrow(0, whole, rest), rows.narrow(0, whole, rest), weight, bias);
  std::vector<int64_t> shape = x.sizes().vec();
  shape.back() = weight.size(0);
  return y.view(shape);
}

bool can_multiply_one(const at::Tensor& x, const at::Tensor& weight, const MaybeTensor& bias) {
  return serves({x, weight}) && is_matrix(weight) && is_one_token(x, weight.size(1), bias);
}

at::Tensor multiply_one(const at::Tensor& x, const at::Tensor& weight, const MaybeTensor& bias) {
  return start_vector(kFloats, kFloatRows, x, weight, std::nullopt, bias);
}

bool can_multiply_one(const at::Tensor& x, const at::Tensor& q, const at::Tensor& scale, const MaybeTensor& bias) {
  const int64_t values = q.scalar_type() == at::kByte ? 32 : 16;
  return serves({x}) && q.device() == x.device() && is_quantised(q, scale, values) &&
         is_one_token(x, input_width(q), bias);
}

at::Tensor multiply_one(const at::Tensor& x, const at::Tensor& q, const at::Tensor& scale, const MaybeTensor& bias) {
  return start_vector(q.scalar_type() == at::kByte ? kHalves : kBytes, kFewBitRows, x, q, scale, bias);
}

bool can_dequantise(const at::Tensor& q, const at::Tensor& scale, at::ScalarType dtype) {
  const bool floats = dtype == at::kBFloat16 || dtype == at::kHalf || dtype == at::kFloat;
  return floats && runtime().serves(q.device()) && is_quantised(q, scale, kDequantised);
}

at::Tensor dequantise(const at::Tensor& q, const at::Tensor& scale, at::ScalarType dtype) {
  const int64_t in = input_width(q);
  const at::Tensor y = at::empty({q.size(0), in}, q.options().dtype(dtype));
  const DequantiseArguments arguments{.q = q.const_data_ptr(),
                                      .scale = scale.const_data_ptr(),
                                      .y = y.mutable_data_ptr(),
                                      .values = y.numel(),
                                      .in = static_cast<int>(in),
                                      .groups = static_cast<int>(scale.size(1)),
                                      .scale_is_float = scale.scalar_type() == at::kFloat};
  constexpr int64_t kBlock = kDequantised * kDequantiseThreads;
  runtime().start(
      q.scalar_type() == at::kByte ? kFromHalves : kFromBytes,
      {.device = q.device(), .type = dtype, .blocks = (y.numel() + kBlock - 1) / kBlock, .threads = kDequantiseThreads},
      &arguments);
  return y;
}

}  // namespace glmimage::kernels::cuda
