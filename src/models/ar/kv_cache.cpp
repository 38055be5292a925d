#include "models/ar/kv_cache.h"

#include <ATen/ops/empty.h>

#include "core/error.h"

namespace glmimage {

KvCache::KvCache(const ArConfig& config, int64_t batch, int64_t capacity, const at::Tensor& like) {
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    keys_.push_back(at::empty({batch, config.kv_heads, capacity, config.head_dim}, like.options()));
    values_.push_back(at::empty({batch, config.kv_heads, capacity, config.head_dim}, like.options()));
  }
}

void KvCache::write(int64_t layer, const at::Tensor& k, const at::Tensor& v) {
  const int64_t tokens = k.size(2);
  if (length_ + tokens > capacity()) {
    fail(ErrorKind::internal, "the key/value cache holds ", capacity(), " tokens; ", length_ + tokens, " are needed");
  }
  keys_[layer].narrow(2, length_, tokens).copy_(k.detach());
  values_[layer].narrow(2, length_, tokens).copy_(v.detach());
}

}  // namespace glmimage
