#pragma once

#include <ATen/core/Tensor.h>

#include "kernels/linear.h"

// 4 bits in the order in which a device's fused product reads them. Files and processors have two values a byte
// (kernels/linear.h); a device's form is int32 and takes as many bytes:
//   Ascend: (out, in / 8), eight values a word, signed, the first in the lowest bits;
//   CUDA: (out / 8, in / (16·k), 32, k / 2), tiles of tensor cores (cuda/linear.h), scales with zeros beside them.
// quantised_linear and dequantise take both; rows can be joined along the first dimension in both. It is made once,
// when a model is loaded, so the device holds one copy of its weights.
namespace glmimage::kernels {

// How many tokens the matrix will mostly be multiplied with. CUDA's product is for few, so with many the matrix stays
// as it is.
enum class Tokens { few, many };

// The form of `matrix`'s device for tokens of `type`, or the matrix itself: 8 bits, a device without such a product,
// sizes the product does not take, or already in that form.
Quantised device_form(const Quantised& matrix, at::ScalarType type, Tokens tokens);
// The scales of rows that were joined, as the integers' form wants them in memory.
at::Tensor device_scale(const at::Tensor& q, const at::Tensor& scale);
// The integers as files have them: (out, in / 2) uint8.
at::Tensor file_form(const at::Tensor& q);

}  // namespace glmimage::kernels
