#include "memory.h"

#include <ATen/ops/from_blob.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

#include "counters.h"

namespace emulated_npu {
namespace {

// Above every address a process gets (47, 48 or 56 bits) and below the bits that arm64 ignores (56 to 63).
constexpr uintptr_t kDeviceBit = uintptr_t{1} << 54;
constexpr size_t kAlignment = 64;

struct Block {
  void* host;
  size_t bytes;
};

void free_block(void* context) {
  auto* block = static_cast<Block*>(context);
  counters().add_live(-static_cast<int64_t>(block->bytes));
  std::free(block->host);
  delete block;
}

class DeviceAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    const c10::Device device(c10::DeviceType::PrivateUse1, 0);
    if (bytes == 0) return {nullptr, nullptr, &c10::detail::deleteNothing, device};
    void* host = std::aligned_alloc(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
    if (!host) throw std::bad_alloc();
    // Fresh device memory holds anything; NaNs make a read of it show.
    std::memset(host, 0xff, bytes);
    counters().add_live(static_cast<int64_t>(bytes));
    void* device_pointer = reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(host) | kDeviceBit);
    return {device_pointer, new Block{host, bytes}, &free_block, device};
  }
  void copy_data(void* dest, const void* src, size_t count) const override {
    std::memcpy(host_address(dest), host_address(src), count);
  }
};

}  // namespace

c10::Allocator* device_allocator() {
  static auto* const allocator = new DeviceAllocator;
  return allocator;
}

void* host_address(const void* device_pointer) {
  return reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(device_pointer) & ~kDeviceBit);
}

at::Tensor host_view(const at::Tensor& tensor) {
  if (!tensor.device().is_privateuseone()) return tensor;
  return at::from_blob(host_address(tensor.const_data_ptr()), tensor.sizes(), tensor.strides(),
                       at::TensorOptions(tensor.scalar_type()));
}

}  // namespace emulated_npu
