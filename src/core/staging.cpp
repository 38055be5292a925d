#include "core/staging.h"

#include <ATen/ops/empty.h>

#include <algorithm>

namespace glmimage {
namespace {

constexpr int64_t kBuffer = int64_t{64} << 20, kWorthIt = int64_t{1} << 20;  // bytes

}  // namespace

bool Staging::open() {
  if (buffer_.defined() || refused_) return buffer_.defined();
  try {
    buffer_ = at::empty({kBuffer}, at::TensorOptions(at::kByte).pinned_memory(true));
  } catch (const c10::Error&) {  // the device's library offers none
    refused_ = true;
  }
  return buffer_.defined();
}

at::Tensor Staging::bring(const at::Tensor& stored, at::ScalarType type) {
  const int64_t size = static_cast<int64_t>(c10::elementSize(type)), bytes = stored.numel() * size;
  if (device_.is_cpu() || bytes < kWorthIt || !stored.is_contiguous() || !open()) return stored.to(device_, type);
  const at::Tensor out = at::empty(stored.sizes(), stored.options().dtype(type).device(device_));
  const at::Tensor from = stored.view({-1}), to = out.view({-1}), piece = buffer_.view(type);
  for (int64_t i = 0; i < from.size(0); i += piece.size(0)) {
    const int64_t count = std::min(piece.size(0), from.size(0) - i);
    piece.narrow(0, 0, count).copy_(from.narrow(0, i, count));
    to.narrow(0, i, count).copy_(piece.narrow(0, 0, count));  // waits, so the buffer is free again
  }
  return out;
}

}  // namespace glmimage
