#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "models/ar/config.h"

namespace glmimage {

// Who knows how far a cache is filled while tokens are added one by one.
enum class Fill {
  host,    // a number of this program: attention looks at the slots that are taken and at no other
  device,  // a tensor: every token runs the same operators on the same addresses and shapes, so that a device could
           // record one step and replay it. Attention looks at all slots through a mask.
};

// The keys (after rope) and values of every token a request has seen, one slot per token, allocated once. One per
// request: the model itself stays const. A copy shares the slots and counts for itself. Heads are kept as the
// checkpoint has them, not expanded to the query heads.
class KvCache {
 public:
  // Room for `capacity` tokens of `batch` rows, in the type and on the device of `like`.
  KvCache(const ArConfig& config, int64_t batch, int64_t capacity, const at::Tensor& like, Fill fill = Fill::host);

  Fill fill() const { return fill_; }
  int64_t length() const { return length_; }  // tokens written in every layer
  int64_t capacity() const { return keys_.empty() ? 0 : keys_.front().size(2); }

  // Before one more token is written: takes its slot. Throws ErrorKind::internal when the cache is full.
  void open_slot();
  // Writes the next tokens of one layer behind the length() known ones: k, v (B, Hkv, T, hd). Detaches them: a cache
  // carries no gradients. Throws ErrorKind::internal when the cache is full.
  void write(int64_t layer, const at::Tensor& k, const at::Tensor& v);
  // All slots of one layer: (B, Hkv, capacity, hd).
  const at::Tensor& keys(int64_t layer) const { return keys_[static_cast<size_t>(layer)]; }
  const at::Tensor& values(int64_t layer) const { return values_[static_cast<size_t>(layer)]; }
  // Fill::device: the slots that are taken, (1, 1, 1, capacity) bool.
  const at::Tensor& taken() const { return taken_; }
  // Called once when all layers have written `tokens`.
  void advance(int64_t tokens);

 private:
  void check_room(int64_t tokens) const;

  Fill fill_;
  std::vector<at::Tensor> keys_, values_;  // per layer (B, Hkv, capacity, hd)
  int64_t length_ = 0;
  at::Tensor next_, taken_;  // Fill::device: (1) int64, the slot of the next token; (1, 1, 1, capacity) bool
};

}  // namespace glmimage
