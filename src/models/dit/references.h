#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "models/dit/block.h"

namespace glmimage {

// What the transformer keeps of reference pictures: keys and values of every block. One sample (row) serves every
// picture of a batch; else there are as many samples as pictures, or a divisor of their number (each repeated in a
// row). 2·layers·D values per token: 480 KiB in bfloat16 for the published model, 1.9 GiB for a picture of 1024 x 1024.
struct ReferenceCache {
  std::vector<KeyValue> blocks;  // each k, v (samples, S, heads, head_dim); empty: nothing written yet
  at::Tensor mask;               // (samples, S) bool, false at padding or dropped references; undefined: all real

  bool empty() const { return blocks.empty(); }
  int64_t samples() const { return empty() ? 0 : blocks.front().k.size(0); }
  int64_t tokens() const { return empty() ? 0 : blocks.front().k.size(1); }

  // Appends one pass's keys and values along S. Its rows must be the cache's samples.
  void append(std::vector<KeyValue> pass);
  // The same references for a batch: (1 or batch) rows. Throws ErrorKind::internal when the counts do not fit.
  ReferenceCache for_batch(int64_t batch) const;
  // Samples side by side; shorter ones are padded and masked, empty ones wholly masked. All of one model.
  static ReferenceCache stack(const std::vector<ReferenceCache>& samples);
};

}  // namespace glmimage
