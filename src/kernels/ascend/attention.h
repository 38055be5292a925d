#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>

namespace glmimage::kernels::ascend {

// npu_fused_infer_attention_score, for inference alone: no gradient. q (B, H, Tq, D), k and v (B, Hkv, Tk, D) of one
// type, half or bfloat16; no bias, no mask. D a multiple of 16 up to 512, at most 256 heads, at most 64 query heads to
// a KV head, at most 65,536 samples.
bool can_attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v);
// Over the first `keys` of each sample -> (B, H, Tq, D).
at::Tensor attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, double scale,
                  std::optional<int64_t> keys);

}  // namespace glmimage::kernels::ascend
