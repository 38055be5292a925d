#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

// Products of a few tokens with a matrix that is read once (kernels/linear.h). No gradients: whoever wants them takes
// the composition.
namespace glmimage::kernels::cpu {

// bfloat16, on a processor, at most 8 tokens.
bool can_stream(const at::Tensor& x, const at::Tensor& weight, const std::optional<at::Tensor>& bias);
at::Tensor stream_linear(const at::Tensor& x, const at::Tensor& weight, const std::optional<at::Tensor>& bias);

// float32 or bfloat16 tokens, at most 8, on a processor; groups of a multiple of 32 values, of 4 bits of 64.
bool can_stream_quantised(const at::Tensor& x, const at::Tensor& q, const at::Tensor& scale,
                          const std::optional<at::Tensor>& bias);
// How: in floats, or with the processor's products of bytes where it has them (integer_rows.h) and groups allow.
enum class Products { floats, bytes };
at::Tensor stream_quantised(const at::Tensor& x, const at::Tensor& q, const at::Tensor& scale,
                            const std::optional<at::Tensor>& bias, Products products = Products::bytes);

// (out, in) float32 or bfloat16, on a processor.
bool can_dequantise(const at::Tensor& q, const at::Tensor& scale, at::ScalarType dtype);
at::Tensor dequantise(const at::Tensor& q, const at::Tensor& scale, at::ScalarType dtype);

}  // namespace glmimage::kernels::cpu
