#pragma once

#include <ATen/core/Tensor.h>

#include "kernels/linear.h"

// 4 bits in the order in which a device's fused product reads them. Files and processors have two values a byte
// (kernels/linear.h); Ascend's form is int32 and takes as many bytes: (out, in / 8), eight values a word, signed, the
// first in the lowest bits. quantised_linear and dequantise take both; rows can be joined along the first dimension in
// both. It is made once, when a model is loaded, so the device holds one copy of its weights.
namespace glmimage::kernels {

// The form of `matrix`'s device for tokens of `type`, or the matrix itself: 8 bits, a device without such a product,
// sizes the product does not take, or already in that form.
Quantised device_form(const Quantised& matrix, at::ScalarType type);
// The integers as files have them: (out, in / 2) uint8.
at::Tensor file_form(const at::Tensor& q);

}  // namespace glmimage::kernels
