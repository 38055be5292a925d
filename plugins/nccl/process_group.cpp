// NCCL's process group for training on several CUDA devices, as a plug-in (train/distributed/plugin.h). It is compiled
// with the CUDA toolkit's and NCCL's headers and linked to neither: libtorch_cuda.so, which the program has opened by
// the time it loads this, holds ProcessGroupNCCL and brings NCCL itself.
#define USE_C10D_NCCL
#include <c10/cuda/CUDAFunctions.h>

#include <chrono>
#include <stdexcept>
#include <string>
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>

#include "train/distributed/plugin.h"

using glmimage::train::kProcessGroupVersion;
using glmimage::train::ProcessGroupRequest;

extern "C" __attribute__((visibility("default"))) c10::intrusive_ptr<c10d::Backend> glm_image_process_group(
    const c10::intrusive_ptr<c10d::Store>& store, const ProcessGroupRequest& request) {
  if (request.version != kProcessGroupVersion) {
    throw std::runtime_error("this plug-in for NCCL was built for version " + std::to_string(kProcessGroupVersion) +
                             " of the program's request, not " + std::to_string(request.version) + ": build it again");
  }
  // NCCL takes the thread's current device for this process's.
  c10::cuda::set_device(static_cast<c10::DeviceIndex>(request.device_index));
  auto options = c10d::ProcessGroupNCCL::Options::create();
  options->timeout = std::chrono::milliseconds(request.timeout_ms);
  auto group = c10::make_intrusive<c10d::ProcessGroupNCCL>(store, request.rank, request.size, options);
  group->setBoundDeviceId(at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(request.device_index)));
  return group;
}

static_assert(std::is_same_v<glmimage::train::ProcessGroupEntry, decltype(&glm_image_process_group)>);
