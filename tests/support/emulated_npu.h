#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <string>

namespace glmimage::test {

// libemulated_npu.so of this build (see emulated_npu/library.cpp): an accelerator played by the CPU. A process uses it
// with GLM_IMAGE_DEVICE_LIBRARY=<this file> and --device npu; the program then takes the road it takes on Ascend.
// What the real device refuses is refused: operators that mix devices, host code that reads device memory (it faults),
// CPU generators. With EMULATED_NPU_REPORT=<file> a process leaves counts behind when it ends, as JSON:
//   {"ops": {"aten::mm": 12, ...}, "bytes_to_device": n, "bytes_to_host": n, "peak_bytes": n}
// EMULATED_NPU_OPERATORS=1 makes it offer torch_npu's fused operators (emulated_npu/vendor.h).
// EMULATED_NPU_DEVICES=<n> makes there be npu:0 to npu:n-1.
// EMULATED_NPU_MEMORY=<bytes> is all the memory it has: what goes beyond fails as out of memory.
// EMULATED_NPU_BROKEN=<text> makes its initialisation fail with that text.
std::filesystem::path emulated_npu_library();

// The same library in the test's own process, opened through core/device.h at the first call.
class EmulatedNpu {
 public:
  static EmulatedNpu open();

  at::Device device() const { return device_; }
  void reset_counts() const;
  // Operators run since reset_counts(): of this name ("aten::mm", all overloads), or all of them.
  int64_t ops(const std::string& name = "") const;
  int64_t bytes_to_host() const;    // copied since reset_counts(), but for what operators move to compute
  int64_t bytes_to_device() const;  // likewise
  int64_t allocated_bytes() const;  // since reset_counts(), freed ones too
  int64_t peak_bytes() const;       // the most that was allocated since reset_counts()
  int64_t live_bytes() const;       // allocated on the device now
  // With torch_npu's fused operators (emulated_npu/vendor.h), or without, as at first.
  void offer_operators(bool offer) const;

 private:
  EmulatedNpu() = default;
  at::Device device_ = at::Device(at::kCPU);
};

}  // namespace glmimage::test
