#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

namespace glmimage {

// As long as it lives, matrix products and convolutions on a kind of device are computed in `dtype`, sums and losses in
// float32: LibTorch's autocast, for this thread. Weights stay what they are; their copies in `dtype` are kept for the
// next use in the same guard and dropped when the outermost guard ends, so an update of the weights is always seen.
class Autocast {
 public:
  enum class WeightCopies { keep, drop };
  // dtype unset: no autocast, also inside another guard.
  Autocast(at::Device device, std::optional<at::ScalarType> dtype, WeightCopies copies = WeightCopies::keep);
  ~Autocast();
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;

  // The type in force for a device's kind; unset: autocast is off.
  static std::optional<at::ScalarType> current(at::Device device);

 private:
  at::DeviceType type_;
  std::optional<at::ScalarType> before_;
  bool copies_before_;
};

}  // namespace glmimage
