#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

// Products with matrices of few bits (kernels/linear.h) by operators that libtorch_cuda brings, for inference: x takes
// no gradient. Functions of tensors alone; only who registers them decides for which device.
namespace glmimage::kernels::cuda {

// at::_int_mm, with tokens in 8 bits, one scale a token: 8 bits with one scale a row, more than 16 tokens, rows and
// columns multiples of 8.
bool can_multiply_bytes(const at::Tensor& x, const at::Tensor& q, const at::Tensor& scale,
                        const std::optional<at::Tensor>& bias);
at::Tensor multiply_bytes(const at::Tensor& x, const at::Tensor& q, const at::Tensor& scale,
                          const std::optional<at::Tensor>& bias);

// The order in which at::_weight_int4pack_mm reads 4 bits: (out / 8, in / (16·k), 32, k / 2) int32, k of 8, 4 or 2 the
// largest that divides. Only for bfloat16 tokens, groups of 32, 64, 128 or 256, rows a multiple of 8 and columns of 32.
bool can_tile(const at::Tensor& q, const at::Tensor& scale);
at::Tensor tiles(const at::Tensor& q);       // (out, in / 2) uint8 -> the tiles
at::Tensor from_tiles(const at::Tensor& q);  // and back
at::Tensor with_zeros(
    const at::Tensor& scale);  // (out, groups), in memory (groups, out, 2) bfloat16, with zeros beside

// The product, of at most 16 tokens: one tile of a tensor core; it reads 4 bits a weight.
bool can_multiply_tiles(const at::Tensor& x, const at::Tensor& q, const at::Tensor& scale,
                        const std::optional<at::Tensor>& bias);
at::Tensor multiply_tiles(const at::Tensor& x, const at::Tensor& q, const at::Tensor& scale,
                          const std::optional<at::Tensor>& bias);

}  // namespace glmimage::kernels::cuda
