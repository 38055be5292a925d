#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "models/ar/config.h"

namespace glmimage {

// The keys (after rope) and values of every token a request has seen, one slot per token, allocated once. One per
// request: the model itself stays const. Heads are kept as the checkpoint has them, not expanded to the query heads.
class KvCache {
 public:
  // Room for `capacity` tokens of `batch` rows, in the type and on the device of `like`.
  KvCache(const ArConfig& config, int64_t batch, int64_t capacity, const at::Tensor& like);

  int64_t length() const { return length_; }  // tokens written in every layer
  int64_t capacity() const { return keys_.empty() ? 0 : keys_.front().size(2); }

  // Writes the next tokens of one layer behind the length() known ones: k, v (B, Hkv, T, hd). Detaches them: a cache
  // carries no gradients. Throws ErrorKind::internal when the cache is full.
  void write(int64_t layer, const at::Tensor& k, const at::Tensor& v);
  // The first `count` slots of one layer, views: (B, Hkv, count, hd).
  at::Tensor keys(int64_t layer, int64_t count) const { return keys_[layer].narrow(2, 0, count); }
  at::Tensor values(int64_t layer, int64_t count) const { return values_[layer].narrow(2, 0, count); }
  // Called once when all layers have written `tokens`.
  void advance(int64_t tokens) { length_ += tokens; }

 private:
  std::vector<at::Tensor> keys_, values_;  // per layer (B, Hkv, capacity, hd)
  int64_t length_ = 0;
};

}  // namespace glmimage
