#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>

namespace glmimage::kernels {

enum class Mask { none, causal };

struct AttentionOptions {
  Mask mask = Mask::none;
  std::optional<double> scale = {};     // unset: 1/sqrt(D)
  std::optional<at::Tensor> bias = {};  // broadcasts to (B, H, Tq, Tk). Floats: added to the scores. Bools: true where
                                        // a key counts. Not with Mask::causal.
  std::optional<int64_t> keys = {};  // only so many of the Tk keys are there, the rest is room. Not with Mask::causal.
};

// softmax(q kᵀ · scale + bias) v. q (B, H, Tq, D); k, v (B, Hkv, Tk, D) with Hkv dividing H (query head h reads KV head
// h / (H/Hkv)) -> (B, H, Tq, D). Mask::causal needs Tq == Tk; with `keys`, Tk of the bias is `keys`. All of one float
// type and device; works under autograd.
at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                     const AttentionOptions& options = {});

// Whether the device attends without ever having all scores in memory, whatever the mask is: what a forecast of memory
// may count on. False for devices whose own operators serve some masks alone.
bool attention_is_fused(const at::Device& device);

// One more token behind `length` known ones: writes its k and v (B, Hkv, 1, D) into that slot of the caches
// (B, Hkv, room, D), and attends from q (B, H, 1, D) over the length + 1 keys that are there then -> (B, H, 1, D).
// Without history.
at::Tensor attend_next(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& key_cache,
                       const at::Tensor& value_cache, int64_t length);

}  // namespace glmimage::kernels
