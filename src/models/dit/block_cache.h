#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace glmimage {

// A caller's memory of earlier steps, which may spare a step some of the transformer's blocks.
class BlockCache {
 public:
  virtual ~BlockCache() = default;
  // Asked before each block i = 0, 1, … with the image stream that enters it, (B, N, D). A defined answer, (B, N, D) in
  // the same type, stands for what would leave the last block: no further block runs.
  virtual at::Tensor shortcut(int64_t block, const at::Tensor& image) = 0;
  // What left the last block, (B, N, D), when all of them ran.
  virtual void computed(const at::Tensor& image) = 0;
};

}  // namespace glmimage
