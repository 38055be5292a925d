#include "memory.h"

#include <ATen/ops/from_blob.h>
#include <c10/core/CachingDeviceAllocator.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>

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

// Bytes the device has, from EMULATED_NPU_MEMORY; 0: no limit.
int64_t capacity() {
  static const int64_t bytes = [] {
    const char* text = std::getenv("EMULATED_NPU_MEMORY");
    return text && *text ? std::stoll(text) : 0;
  }();
  return bytes;
}

thread_local c10::DeviceIndex current = 0;

class DeviceAllocator final : public c10::DeviceAllocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    const c10::Device device(c10::DeviceType::PrivateUse1, current_device());
    if (bytes == 0) return {nullptr, nullptr, &c10::detail::deleteNothing, device};
    const int64_t free = capacity() - counters().live();
    TORCH_CHECK_WITH(OutOfMemoryError, capacity() == 0 || static_cast<int64_t>(bytes) <= free,
                     "NPU out of memory. Tried to allocate ", bytes, " bytes; of ", capacity(), " are ", free, " free");
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
  bool initialized() override { return true; }
  void emptyCache(c10::MempoolId_t) override {}  // keeps none
  void recordStream(const c10::DataPtr&, c10::Stream) override {}
  c10::CachingDeviceAllocator::DeviceStats getDeviceStats(c10::DeviceIndex) override { return {}; }
  void resetAccumulatedStats(c10::DeviceIndex) override {}
  void resetPeakStats(c10::DeviceIndex) override {}
  std::pair<size_t, size_t> getMemoryInfo(c10::DeviceIndex device) override {
    if (capacity() == 0) return c10::DeviceAllocator::getMemoryInfo(device);  // as a library that cannot tell
    return {static_cast<size_t>(capacity() - counters().live()), static_cast<size_t>(capacity())};
  }
};

}  // namespace

c10::DeviceIndex device_count() {
  static const auto count = [] {
    const char* text = std::getenv("EMULATED_NPU_DEVICES");
    return static_cast<c10::DeviceIndex>(text && *text ? std::stoi(text) : 1);
  }();
  return count;
}

c10::DeviceIndex current_device() { return current; }

void set_current_device(c10::DeviceIndex index) {
  TORCH_CHECK(index >= -1 && index < device_count(), "there are ", static_cast<int>(device_count()),
              " emulated devices, counted from 0, and no npu:", static_cast<int>(index));
  if (index >= 0) current = index;
}

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
