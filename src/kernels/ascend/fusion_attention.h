#pragma once

#include <ATen/core/Tensor.h>

#include "kernels/attention.h"

namespace glmimage::kernels::ascend {

// npu_fusion_attention, for training: someone asks for a gradient of q, k or v. q (B, H, Tq, D), k and v (B, Hkv, Tk,
// D) of one type, half, bfloat16 or float32; D up to 768, at most 256 heads. Causal, or with a bias: bools, or floats
// nobody asks a gradient of.
bool can_attend_in_training(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            const AttentionOptions& options);
// -> (B, H, Tq, D), with a history: the library's formula calls npu_fusion_attention_grad.
at::Tensor attend_in_training(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                              const AttentionOptions& options);

}  // namespace glmimage::kernels::ascend
