#include "models/ar/kv_cache.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include "core/error.h"

namespace glmimage {

KvCache::KvCache(const ArConfig& config, int64_t batch, int64_t capacity, const at::Tensor& like, Fill fill)
    : fill_(fill) {
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    for (std::vector<at::Tensor>* slots : {&keys_, &values_}) {
      slots->push_back(at::empty({batch, config.kv_heads, capacity, config.head_dim}, like.options()));
      // Free slots are looked at through a mask, and nothing times what is no number would be no number.
      if (fill == Fill::device) slots->back().zero_();
    }
  }
  if (fill == Fill::host) return;
  next_ = at::zeros({1}, like.options().dtype(at::kLong));
  taken_ = at::zeros({1, 1, 1, capacity}, like.options().dtype(at::kBool));
}

void KvCache::check_room(int64_t tokens) const {
  if (length_ + tokens > capacity()) {
    fail(ErrorKind::internal, "the key/value cache holds ", capacity(), " tokens; ", length_ + tokens, " are needed");
  }
}

void KvCache::open_slot() {
  check_room(1);
  if (fill_ == Fill::device) taken_.index_fill_(3, next_, true);
}

void KvCache::write(int64_t layer, const at::Tensor& k, const at::Tensor& v) {
  const int64_t tokens = k.size(2);
  check_room(tokens);
  const auto put = [&](const at::Tensor& slots, const at::Tensor& x) {
    if (fill_ == Fill::device && length_ > 0) {
      slots.index_copy_(2, next_, x.detach());
    } else {
      slots.narrow(2, length_, tokens).copy_(x.detach());
    }
  };
  put(keys(layer), k);
  put(values(layer), v);
}

void KvCache::advance(int64_t tokens) {
  if (fill_ == Fill::device && length_ == 0) taken_.narrow(3, 0, tokens).fill_(true);
  length_ += tokens;
  if (fill_ == Fill::device) next_.add_(tokens);
}

}  // namespace glmimage
