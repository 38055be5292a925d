// An accelerator for tests: LibTorch's PrivateUse1 device under the name "npu", with torch_npu's entry points, so that
// the product loads and drives it exactly as it does Ascend's library.
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <c10/core/DeviceType.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>

#include <cstdlib>
#include <fstream>
#include <string>

#include "counters.h"
#include "memory.h"
#include "vendor.h"

namespace emulated_npu {
namespace {

constexpr c10::DeviceType kType = c10::DeviceType::PrivateUse1;

// Devices with one stream each, on which all work is done at once.
struct Guard final : public c10::impl::DeviceGuardImplInterface {
  Guard() = default;
  explicit Guard(c10::DeviceType) {}
  c10::DeviceType type() const override { return kType; }
  c10::Device exchangeDevice(c10::Device device) const override {
    const c10::Device before = getDevice();
    setDevice(device);
    return before;
  }
  c10::Device getDevice() const override { return {kType, current_device()}; }
  void setDevice(c10::Device device) const override {
    TORCH_CHECK(device.type() == kType, "an emulated device is no ", device);
    set_current_device(device.index());
  }
  void uncheckedSetDevice(c10::Device device) const noexcept override { set_current_device(device.index()); }
  c10::Stream getStream(c10::Device) const noexcept override { return c10::Stream(c10::Stream::DEFAULT, getDevice()); }
  c10::Stream getDefaultStream(c10::Device device) const override { return getStream(device); }
  c10::Stream exchangeStream(c10::Stream) const noexcept override { return getStream(getDevice()); }
  c10::DeviceIndex deviceCount() const noexcept override { return device_count(); }
  void record(void**, const c10::Stream&, c10::DeviceIndex, c10::EventFlag) const override {}
  void block(void*, const c10::Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  bool queryStream(const c10::Stream&) const override { return true; }
  void synchronizeStream(const c10::Stream&) const override {}
  void synchronizeEvent(void*) const override {}
  void synchronizeDevice(c10::DeviceIndex) const override {}
};

struct Hooks final : public at::PrivateUse1HooksInterface {
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  c10::DeviceIndex deviceCount() const override { return device_count(); }
  void setCurrentDevice(c10::DeviceIndex index) const override { set_current_device(index); }
  c10::DeviceIndex getCurrentDevice() const override { return current_device(); }
  c10::DeviceIndex exchangeDevice(c10::DeviceIndex index) const override {
    const c10::DeviceIndex before = current_device();
    set_current_device(index);
    return before;
  }
  c10::DeviceIndex maybeExchangeDevice(c10::DeviceIndex index) const override { return exchangeDevice(index); }
  void resizePrivateUse1Bytes(const c10::Storage&, size_t) const override {
    TORCH_CHECK(false, "the emulated device does not resize storages");
  }
};

C10_REGISTER_GUARD_IMPL(PrivateUse1, Guard)

[[maybe_unused]] const bool registered = [] {
  c10::SetAllocator(kType, device_allocator());
  c10::register_privateuse1_backend("npu");
  at::RegisterPrivateUse1HooksInterface(new Hooks);
  return true;
}();

}  // namespace
}  // namespace emulated_npu

// The entry points of torch_npu (torch_npu/csrc/libs/init_npu.h).
namespace torch_npu {

__attribute__((visibility("default"))) void init_npu(const c10::Device& device) {
  const char* broken = std::getenv("EMULATED_NPU_BROKEN");
  TORCH_CHECK(!broken, broken);
  TORCH_CHECK(device.type() == emulated_npu::kType, "expected an npu device, not ", device);
  if (device.index() < emulated_npu::device_count()) emulated_npu::set_current_device(device.index());
  const char* operators = std::getenv("EMULATED_NPU_OPERATORS");
  if (operators && std::string(operators) == "1") emulated_npu::offer_vendor_operators(true);
}

__attribute__((visibility("default"))) void finalize_npu() {
  if (const char* file = std::getenv("EMULATED_NPU_REPORT")) {
    std::ofstream(file) << emulated_npu::counters().report().dump(1) << "\n";
  }
}

}  // namespace torch_npu

// Of Ascend's runtime (acl.h), what doctor asks.
extern "C" {
const char* aclrtGetSocName() { return "Emulated"; }
int aclGetDeviceCapability(uint32_t device, int what, int64_t* value) {
  if (device >= static_cast<uint32_t>(emulated_npu::device_count()) || what != 0) return 1;
  *value = 1;
  return 0;
}
}

// For the tests in this process (tests/support/emulated_npu.h).
extern "C" {
void emulated_npu_reset_counts() { emulated_npu::counters().reset(); }
int64_t emulated_npu_ops(const char* name) { return emulated_npu::counters().ops(name); }
int64_t emulated_npu_bytes_to_host() { return emulated_npu::counters().to_host(); }
int64_t emulated_npu_bytes_to_device() { return emulated_npu::counters().to_device(); }
int64_t emulated_npu_allocated_bytes() { return emulated_npu::counters().allocated(); }
void emulated_npu_offer_operators(bool offer) { emulated_npu::offer_vendor_operators(offer); }
int64_t emulated_npu_peak_bytes() { return emulated_npu::counters().peak(); }
int64_t emulated_npu_live_bytes() { return emulated_npu::counters().live(); }
}
