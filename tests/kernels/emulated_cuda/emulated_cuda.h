#pragma once

#include "kernels/cuda/runtime.h"

namespace glmimage::test {

// Runs the kernels of src/kernels/cuda/device on the processor, from the very text that is compiled for NVIDIA devices:
// the threads of a block are fibers, which meet where the text says so. What it cannot show is what only a device has:
// races between warps, alignment faults, speed.
class EmulatedCuda final : public kernels::cuda::Runtime {
 public:
  EmulatedCuda() { kernels::cuda::use_runtime(this); }
  ~EmulatedCuda() override { kernels::cuda::use_runtime(nullptr); }

  bool serves(const at::Device& device) override { return device.is_cpu(); }
  void start(const kernels::cuda::Kernel& kernel, const kernels::cuda::Launch& launch, const void* arguments) override;

  int started = 0;
};

}  // namespace glmimage::test
