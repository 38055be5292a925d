#include "kernels/linear.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/where.h>
#include <torch/library.h>

#include <algorithm>
#include <vector>

#include "core/error.h"
#include "kernels/ascend/linear.h"
#include "kernels/cpu/linear.h"
#include "kernels/cpu/rounded_linear.h"
#include "kernels/cpu/tile_linear.h"
#include "kernels/cuda/linear.h"
#include "kernels/device_form.h"
#include "kernels/schema.h"

namespace glmimage::kernels {
namespace {

using MaybeTensor = std::optional<at::Tensor>;

bool of_four_bits(const at::Tensor& q) { return q.scalar_type() == at::kByte; }

// The integers of a matrix: (out, in) float32.
at::Tensor integers(const at::Tensor& q) {
  if (!of_four_bits(q)) return q.to(at::kFloat);
  return at::stack({q.bitwise_and(15), q.bitwise_right_shift(4)}, -1).flatten(1).to(at::kFloat) - 8;
}

// The device's own form of four bits is read by its product alone; the others take that of files.
bool in_device_form(const at::Tensor& q) { return q.scalar_type() == at::kInt; }

void check_quantised(const at::Tensor& x, const at::Tensor& q, const at::Tensor& scale) {
  const int64_t in = input_width(q);
  if (q.dim() != 2 || scale.dim() != 2 || scale.size(0) != q.size(0) || scale.size(1) < 1 || in % scale.size(1) != 0 ||
      x.dim() < 1 || x.size(-1) != in) {
    fail(ErrorKind::internal, "quantised_linear: x ", x.sizes(), ", q ", q.sizes(), ", scale ", scale.sizes());
  }
}

at::Tensor linear_composition(const at::Tensor& x, const at::Tensor& weight, const MaybeTensor& bias) {
  return at::linear(x, weight, bias);
}

at::Tensor linear_on_cpu(const at::Tensor& x, const at::Tensor& weight, const MaybeTensor& bias) {
  if (cpu::can_tile(x, weight, bias)) return cpu::tile_linear(x, weight, bias);
  return cpu::can_stream(x, weight, bias) ? cpu::stream_linear(x, weight, bias) : at::linear(x, weight, bias);
}

at::Tensor quantised_composition(const at::Tensor& x, const at::Tensor& q, const at::Tensor& scale,
                                 const MaybeTensor& bias) {
  if (in_device_form(q)) return quantised_composition(x, file_form(q), scale, bias);
  check_quantised(x, q, scale);
  return at::linear(x, dequantise(q, scale, x.scalar_type()), bias);
}

at::Tensor quantised_on_cpu(const at::Tensor& x, const at::Tensor& q, const at::Tensor& scale,
                            const MaybeTensor& bias) {
  check_quantised(x, q, scale);
  if (cpu::can_stream_quantised(x, q, scale, bias)) return cpu::stream_quantised(x, q, scale, bias);
  if (cpu::can_round_tokens(x, q, scale, bias)) return cpu::rounded_linear(x, q, scale, bias);
  return quantised_composition(x, q, scale, bias);
}

at::Tensor quantised_on_npu(const at::Tensor& x, const at::Tensor& q, const at::Tensor& scale,
                            const MaybeTensor& bias) {
  if (ascend::can_multiply_bytes(x, q, scale, bias)) return ascend::multiply_bytes(x, q, scale, bias);
  return ascend::can_multiply(x, q, scale, bias) ? ascend::multiply(x, q, scale, bias)
                                                 : quantised_composition(x, q, scale, bias);
}

at::Tensor linear_on_cuda(const at::Tensor& x, const at::Tensor& weight, const MaybeTensor& bias) {
  if (cuda::can_multiply_one(x, weight, bias)) return cuda::multiply_one(x, weight, bias);
  return cuda::can_split(x, weight, bias) ? cuda::multiply_split(x, weight, bias) : at::linear(x, weight, bias);
}

at::Tensor quantised_on_cuda(const at::Tensor& x, const at::Tensor& q, const at::Tensor& scale,
                             const MaybeTensor& bias) {
  if (cuda::can_multiply_one(x, q, scale, bias)) return cuda::multiply_one(x, q, scale, bias);
  check_quantised(x, q, scale);
  return linear_on_cuda(x, dequantise(q, scale, x.scalar_type()), bias);
}

at::Tensor dequantise_composition(const at::Tensor& q, const at::Tensor& scale, at::ScalarType dtype) {
  if (in_device_form(q)) return dequantise_composition(file_form(q), scale, dtype);
  const at::Tensor grouped = integers(q).view({q.size(0), scale.size(1), -1});  // (out, groups, group)
  return (grouped * scale.to(at::kFloat).unsqueeze(-1)).flatten(1).to(dtype);
}

at::Tensor dequantise_on_cpu(const at::Tensor& q, const at::Tensor& scale, at::ScalarType dtype) {
  return cpu::can_dequantise(q, scale, dtype) ? cpu::dequantise(q, scale, dtype)
                                              : dequantise_composition(q, scale, dtype);
}

at::Tensor dequantise_on_cuda(const at::Tensor& q, const at::Tensor& scale, at::ScalarType dtype) {
  return cuda::can_dequantise(q, scale, dtype) ? cuda::dequantise(q, scale, dtype)
                                               : dequantise_composition(q, scale, dtype);
}

// Two a byte, the first in the low half: (out, in) integers -8…7 -> (out, in / 2) uint8.
at::Tensor pack_halves(const at::Tensor& integers) {
  const at::Tensor pairs = (integers + 8).to(at::kByte).view({integers.size(0), -1, 2});
  return pairs.select(-1, 0).bitwise_or(pairs.select(-1, 1).bitwise_left_shift(4)).contiguous();
}

// Some rows of a matrix, in groups of `size`.
Quantised quantise_rows(const at::Tensor& weight, int64_t bits, int64_t size, const MaybeTensor& importance) {
  constexpr int kTrials = 11;  // 1, 0.95, … 0.5 of the scale that reaches the largest value
  const double largest = bits == 8 ? 127 : 7, smallest = bits == 8 ? -127 : -8;
  const int64_t out = weight.size(0), in = weight.size(1);
  const at::Tensor w = weight.to(at::kFloat).reshape({out, in / size, size});  // (out, groups, group)
  at::Tensor weights_of_errors;                                                // broadcasts to w
  if (importance) weights_of_errors = importance->to(at::kFloat).view({1, in / size, size});
  const at::Tensor reach = w.abs().amax({-1}, /*keepdim=*/true) / largest;  // (out, groups, 1)
  at::Tensor best_scale, best_error;
  for (int trial = 0; trial < kTrials; ++trial) {
    // Rounded first: what is stored is what the integers are chosen for. A group of zeros takes any scale.
    at::Tensor scale = (reach * (1 - 0.05 * trial)).to(at::kBFloat16).to(at::kFloat);
    scale = at::where(scale > 0, scale, at::ones({}, scale.options()));
    at::Tensor error = ((w / scale).round().clamp(smallest, largest) * scale - w).square();
    if (importance) error = error * weights_of_errors;
    error = error.sum({-1}, /*keepdim=*/true);
    if (trial == 0) {
      best_scale = scale, best_error = error;
    } else {
      const at::Tensor better = error < best_error;
      best_scale = at::where(better, scale, best_scale);
      best_error = at::where(better, error, best_error);
    }
  }
  const at::Tensor integers = (w / best_scale).round().clamp(smallest, largest).view({out, in});
  return {bits == 8 ? integers.to(at::kChar) : pack_halves(integers), best_scale.squeeze(-1).to(at::kBFloat16)};
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(glm_image, m) {
  m.def("linear(Tensor x, Tensor weight, Tensor? bias) -> Tensor");
  register_kernel(m, "linear", linear_composition, linear_on_cpu, linear_composition);
  register_on_device(m, "linear", c10::DispatchKey::CUDA, linear_on_cuda);
  m.def("quantised_linear(Tensor x, Tensor q, Tensor scale, Tensor? bias) -> Tensor");
  register_kernel(m, "quantised_linear", quantised_composition, quantised_on_cpu, quantised_composition);
  register_on_device(m, "quantised_linear", c10::DispatchKey::PrivateUse1, quantised_on_npu);
  register_on_device(m, "quantised_linear", c10::DispatchKey::CUDA, quantised_on_cuda);
  m.def("dequantise(Tensor q, Tensor scale, ScalarType dtype) -> Tensor");
  register_kernel(m, "dequantise", dequantise_composition, dequantise_on_cpu, dequantise_on_cpu);
  register_on_device(m, "dequantise", c10::DispatchKey::CUDA, dequantise_on_cuda);
}

int64_t input_width(const at::Tensor& q) { return of_four_bits(q) ? 2 * q.size(-1) : q.size(-1); }

at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const MaybeTensor& bias) {
  static const auto op =
      find_operator<at::Tensor(const at::Tensor&, const at::Tensor&, const MaybeTensor&)>("glm_image::linear");
  return op.call(x, weight, bias);
}

at::Tensor quantised_linear(const at::Tensor& x, const at::Tensor& q, const at::Tensor& scale,
                            const MaybeTensor& bias) {
  static const auto op =
      find_operator<at::Tensor(const at::Tensor&, const at::Tensor&, const at::Tensor&, const MaybeTensor&)>(
          "glm_image::quantised_linear");
  return op.call(x, q, scale, bias);
}

at::Tensor dequantise(const at::Tensor& q, const at::Tensor& scale, at::ScalarType dtype) {
  static const auto op =
      find_operator<at::Tensor(const at::Tensor&, const at::Tensor&, at::ScalarType)>("glm_image::dequantise");
  return op.call(q, scale, dtype);
}

Quantised quantise(const at::Tensor& weight, int64_t bits, int64_t group, const MaybeTensor& importance) {
  const int64_t out = weight.size(0), in = weight.size(1), size = group == 0 ? in : group;
  if ((bits != 8 && bits != 4) || size < 1 || in % size != 0 || (bits == 4 && in % 2 != 0)) {
    fail(ErrorKind::internal, "quantise: ", bits, " bits in groups of ", size, " for a matrix of ", weight.sizes());
  }
  constexpr int64_t kValues = 1 << 22;  // of one piece: what is computed on the way takes several times as much
  const int64_t rows = std::max<int64_t>(1, kValues / in);
  std::vector<at::Tensor> q, scale;
  for (int64_t row = 0; row < out; row += rows) {
    const Quantised piece = quantise_rows(weight.narrow(0, row, std::min(rows, out - row)), bits, size, importance);
    q.push_back(piece.q);
    scale.push_back(piece.scale);
  }
  return {at::cat(q), at::cat(scale)};
}

}  // namespace glmimage::kernels
