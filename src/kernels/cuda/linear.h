#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

// One token through a matrix at the speed of the memory, and matrices of few bits (kernels/linear.h) as floats for the
// products of many tokens; for inference. Columns a multiple of 16 bytes of weights, groups too.
namespace glmimage::kernels::cuda {

bool can_multiply_one(const at::Tensor& x, const at::Tensor& weight, const std::optional<at::Tensor>& bias);
at::Tensor multiply_one(const at::Tensor& x, const at::Tensor& weight, const std::optional<at::Tensor>& bias);

bool can_multiply_one(const at::Tensor& x, const at::Tensor& q, const at::Tensor& scale,
                      const std::optional<at::Tensor>& bias);
at::Tensor multiply_one(const at::Tensor& x, const at::Tensor& q, const at::Tensor& scale,
                        const std::optional<at::Tensor>& bias);

// Many tokens of sixteen bits whose number is no multiple of the library's tiles (4,096 of a picture and 16 of glyphs):
// the whole tiles and the rest as products of their own. On an H100 4,112 tokens took 1.36 times as long as 4,096
// (docs/performance.md).
bool can_split(const at::Tensor& x, const at::Tensor& weight, const std::optional<at::Tensor>& bias);
at::Tensor multiply_split(const at::Tensor& x, const at::Tensor& weight, const std::optional<at::Tensor>& bias);

bool can_dequantise(const at::Tensor& q, const at::Tensor& scale, at::ScalarType dtype);
at::Tensor dequantise(const at::Tensor& q, const at::Tensor& scale, at::ScalarType dtype);

}  // namespace glmimage::kernels::cuda
