#pragma once

#include <ATen/core/Tensor.h>

namespace glmimage {

// Brings mapped weights to a device. An accelerator's copies from ordinary memory run at a fraction of its link's
// speed, so large ones go through a piece of memory that the device may read by itself, which all threads fill. Where
// there is no such memory it is LibTorch's plain copy.
class Staging {
 public:
  explicit Staging(at::Device device) : device_(device) {}
  // `stored`, on the CPU, in `type` on the device; itself when both fit already.
  at::Tensor bring(const at::Tensor& stored, at::ScalarType type);

 private:
  bool open();
  at::Device device_;
  at::Tensor buffer_;  // (bytes) uint8, pinned
  bool refused_ = false;
};

}  // namespace glmimage
