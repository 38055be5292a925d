#pragma once

#include <ATen/core/Tensor.h>

#include "kernels/attention.h"

// Attention of bfloat16 in one pass over the keys (Dao et al. 2022, FlashAttention), on the processor's own products of
// bfloat16 (AVX512_BF16). LibTorch's takes such products for this only where the processor has AMX as well.
namespace glmimage::kernels::cpu {

// Contract of kernels::attention, without gradients. Without bias and free room, bfloat16, heads of a multiple of 64
// values that lie side by side, 64 queries and more.
bool can_attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const AttentionOptions& options);

// -> (B, H, Tq, D), of which (B, Tq, H, D) is contiguous. Scores, sums and results are float32; the weights of the
// values are rounded to bfloat16.
at::Tensor attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const AttentionOptions& options);

}  // namespace glmimage::kernels::cpu
