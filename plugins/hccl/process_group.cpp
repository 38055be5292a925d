// HCCL's process group for training on several Ascend devices, as a plug-in (train/distributed/plugin.h). It is
// compiled with the headers of torch_npu's C++ build (libtorch_npu/include) and linked to nothing: libtorch_npu.so,
// which the program has opened by the time it loads this, holds ProcessGroupHCCL.
#include <torch_npu/csrc/core/npu/NPUFunctions.h>
#include <chrono>
#include <stdexcept>
#include <string>
#include <torch/csrc/distributed/c10d/Store.hpp>
#include <torch_npu/csrc/distributed/ProcessGroupHCCL.hpp>

#include "train/distributed/plugin.h"

using glmimage::train::kProcessGroupVersion;
using glmimage::train::ProcessGroupRequest;

extern "C" __attribute__((visibility("default"))) c10::intrusive_ptr<c10d::Backend> glm_image_process_group(
    const c10::intrusive_ptr<c10d::Store>& store, const ProcessGroupRequest& request) {
  if (request.version != kProcessGroupVersion) {
    throw std::runtime_error("this plug-in for HCCL was built for version " + std::to_string(kProcessGroupVersion) +
                             " of the program's request, not " + std::to_string(request.version) + ": build it again");
  }
  // HCCL takes the thread's current device for this process's.
  c10_npu::set_device(static_cast<c10::DeviceIndex>(request.device_index));
  auto options = c10d_npu::ProcessGroupHCCL::Options::create();
  options->timeout = std::chrono::milliseconds(request.timeout_ms);
  options->opTimeout = options->timeout;
  return c10::make_intrusive<c10d_npu::ProcessGroupHCCL>(store, request.rank, request.size, options);
}

static_assert(std::is_same_v<glmimage::train::ProcessGroupEntry, decltype(&glm_image_process_group)>);
