#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>

namespace glmimage::kernels {

// x Wᵀ + b. x (…, in), weight (out, in), bias (out) or nothing; all of one float type and device -> (…, out). Works
// under autograd. On a processor, bfloat16 products of a few tokens (the decoding of a language model) read the weights
// once, at the speed of the memory, and add in float32.
at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const std::optional<at::Tensor>& bias = std::nullopt);

// A matrix of few bits: an integer for each value, and one scale for each `in / groups` neighbours of a row, symmetric
// about zero: W[o, i] = q[o, i] · scale[o, i / group].
// 8 bits: q is (out, in) int8, -127…127. 4 bits: q is (out, in / 2) uint8, two values a byte, the first in the low
// half, each plus 8, so -8…7. scale is (out, groups) bfloat16 or float32, and `groups` divides `in`.
// That is what compressed-tensors stores as "int-quantized" and "pack-quantized" (whose int32 words are these bytes).
int64_t input_width(const at::Tensor& q);  // `in`

// x Wᵀ + b of such a matrix: x (…, in) of any float type, q and scale on its device, bias (out) of its type or nothing
// -> (…, out) like x. Differentiable by x and bias. On a processor a few tokens never write W out, and add products in
// float32. Many tokens of 8 bits with one scale a row are rounded to 8 bits too ("W8A8"), each in steps of its largest
// value / 127, where no gradient is asked for and the processor multiplies bytes, or, for more than 16 of them, on
// Ascend: half the time of bfloat16. Else: dequantise, in x's type, and linear. q may be in its device's own form
// (device_form.h).
at::Tensor quantised_linear(const at::Tensor& x, const at::Tensor& q, const at::Tensor& scale,
                            const std::optional<at::Tensor>& bias = std::nullopt);

// W itself, (out, in) in `dtype`; products of q and scale are taken in float32.
at::Tensor dequantise(const at::Tensor& q, const at::Tensor& scale, at::ScalarType dtype);

struct Quantised {
  at::Tensor q, scale;
};

// The matrix nearest to `weight` (out, in; any float type), in 8 or 4 bits, with a bfloat16 scale for each `group`
// values, which divides `in` (0: one for the whole row). Of each group the scale is searched that makes the sum of
// importance · (W − Ŵ)² least, from the one that reaches the largest value down to half of it: a few values cut off can
// buy finer steps for all others. importance (in): mean squares of the inputs; unset: all alike. float32 inside.
Quantised quantise(const at::Tensor& weight, int64_t bits, int64_t group,
                   const std::optional<at::Tensor>& importance = std::nullopt);

}  // namespace glmimage::kernels
