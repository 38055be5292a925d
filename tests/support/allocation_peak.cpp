#include "support/allocation_peak.h"

#include <c10/core/CPUAllocator.h>

#include <algorithm>
#include <mutex>
#include <unordered_map>

namespace glmimage::test {
namespace {

// Lives as long as the program: tensors may outlive the counting.
class Counter : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    void* data = base->raw_allocate(bytes);
    const std::lock_guard lock(mutex_);
    sizes_[data] = static_cast<int64_t>(bytes);
    held += static_cast<int64_t>(bytes);
    peak = std::max(peak, held);
    return {data, data, &Counter::give_back, c10::Device(c10::kCPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &Counter::give_back; }
  void copy_data(void* to, const void* from, size_t bytes) const override { default_copy_data(to, from, bytes); }

  c10::Allocator* base = nullptr;
  int64_t held = 0, peak = 0;

 private:
  static void give_back(void* data);

  std::mutex mutex_;
  std::unordered_map<void*, int64_t> sizes_;
};

Counter& counter() {
  static Counter counter;
  return counter;
}

void Counter::give_back(void* data) {
  Counter& self = counter();
  const std::lock_guard lock(self.mutex_);
  self.held -= self.sizes_[data];
  self.sizes_.erase(data);
  self.base->raw_deallocate(data);
}

constexpr uint8_t kPriority = 200;  // above LibTorch's own

}  // namespace

AllocationPeak::AllocationPeak() : before_(c10::GetCPUAllocator()) {
  counter().base = before_;
  counter().held = counter().peak = 0;
  c10::SetCPUAllocator(&counter(), kPriority);
}

AllocationPeak::~AllocationPeak() { c10::SetCPUAllocator(before_, kPriority); }

int64_t AllocationPeak::bytes() const { return counter().peak; }

}  // namespace glmimage::test
