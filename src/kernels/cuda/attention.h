#pragma once

#include <ATen/core/Tensor.h>

#include "kernels/attention.h"

// Contract of kernels::attention for one query token over a cache, for inference: no bias, heads of at most 128 values,
// at most 16 query heads to a key/value head. LibTorch's own asks cuDNN, which plans anew for every number of keys.
namespace glmimage::kernels::cuda {

bool can_attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const AttentionOptions& options);
// -> (B, H, 1, D), dense
at::Tensor attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const AttentionOptions& options);

// Contract of kernels::attend_next.
bool can_attend_next(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& key_cache,
                     const at::Tensor& value_cache, int64_t length);
at::Tensor attend_next(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& key_cache,
                       const at::Tensor& value_cache, int64_t length);

}  // namespace glmimage::kernels::cuda
