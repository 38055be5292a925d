#pragma once

#include <c10/util/intrusive_ptr.h>

#include <cstdint>

namespace c10d {
class Backend;
class Store;
}  // namespace c10d

namespace glmimage::train {

// How a device's collectives get into the program without being linked to it. A plug-in is a shared library with one
// function of C linkage, kProcessGroupEntry, of type ProcessGroupEntry. The program looks for the function, in this
// order, in
//   1. the library that GLM_IMAGE_GROUP_LIBRARY names, where that is set;
//   2. whatever is loaded already (the device's own library may offer it);
//   3. libglm_image_group_<cuda|npu>.so in the folder of the program, then in that of libtorch_cpu.so.
// A plug-in is compiled with this header, LibTorch's c10d headers and its vendor's, and resolves c10d from the
// libtorch_cpu.so of the process. On the CPU there is no plug-in: Gloo is in libtorch_cpu.so.
inline constexpr int32_t kProcessGroupVersion = 1;
inline constexpr const char* kProcessGroupEntry = "glm_image_process_group";

// What the plug-in is asked for.
struct ProcessGroupRequest {
  int32_t version = kProcessGroupVersion;  // a plug-in refuses (throws) what it was not made for
  int32_t rank = 0;                        // from 0
  int32_t size = 1;
  int32_t device_index = 0;  // of this process: "npu:3" is 3; the device is open and works
  int64_t timeout_ms = 0;    // of every collective and of the first meeting
};

// Makes the vendor's process group: NCCL's for CUDA, HCCL's for Ascend. `store` is where the processes meet, its keys
// already under a prefix of this group's own; all of them call at once. The group must offer, on contiguous tensors of
// the device, of float32, float16 and bfloat16:
//   broadcast, allreduce (SUM), _allgather_base, _reduce_scatter_base (SUM)
// with Work::wait() ordering the results before what the calling thread starts on the device afterwards, as NCCL's
// group does. _allgather_base is also called with the input being the rank's own part of the output, as NCCL allows.
// Host tensors never reach it: numbers that processes agree on go over Gloo. Faults are exceptions derived from
// std::exception (c10::Error), whose first line is shown.
using ProcessGroupEntry = c10::intrusive_ptr<c10d::Backend> (*)(const c10::intrusive_ptr<c10d::Store>& store,
                                                                const ProcessGroupRequest& request);

}  // namespace glmimage::train
