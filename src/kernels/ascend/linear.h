#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

// Products with matrices of few bits (kernels/linear.h), for inference: x takes no gradient.
namespace glmimage::kernels::ascend {

// npu_weight_quant_batchmatmul: half or bfloat16 tokens; one scale a row, or groups of a multiple of 32 values; rows
// and columns up to 65,535. 8 bits as they are, 4 bits as signed_halves gives them.
bool can_multiply(const at::Tensor& x, const at::Tensor& q, const at::Tensor& scale,
                  const std::optional<at::Tensor>& bias);
at::Tensor multiply(const at::Tensor& x, const at::Tensor& q, const at::Tensor& scale,
                    const std::optional<at::Tensor>& bias);

// 4 bits as the operator takes them: (out, in / 8) int32, eight signed values a word, the first in the lowest bits
// (npu_convert_weight_to_int4pack). Ours are unsigned, 8 above; the order is the same.
bool can_sign(const at::Tensor& q, const at::Tensor& scale, at::ScalarType tokens);
at::Tensor signed_halves(const at::Tensor& q);       // (out, in / 2) uint8 -> (out, in / 8) int32
at::Tensor from_signed_halves(const at::Tensor& q);  // and back

// npu_dynamic_quant and npu_quant_matmul: the same with tokens in 8 bits, one scale a token, where integers are
// multiplied at twice the rate of bfloat16. 8 bits with one scale a row, and more than 16 tokens: fewer are a matter of
// reading weights.
bool can_multiply_bytes(const at::Tensor& x, const at::Tensor& q, const at::Tensor& scale,
                        const std::optional<at::Tensor>& bias);
at::Tensor multiply_bytes(const at::Tensor& x, const at::Tensor& q, const at::Tensor& scale,
                          const std::optional<at::Tensor>& bias);

}  // namespace glmimage::kernels::ascend
