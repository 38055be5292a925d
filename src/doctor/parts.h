#pragma once

#include <string>
#include <vector>

#include "core/device.h"
#include "doctor/finding.h"
#include "doctor/system_tree.h"

// What each device's files and library say. None throws for what it finds.
namespace glmimage::doctor {

// What is not there is a problem where this very device was asked for, unless the device works all the same, as in a
// container that shows less than it has.
enum class Wanted { no, yes, and_works };

// Model, instruction sets, cores, memory, LibTorch. /proc and /sys below the tree's root.
Examination examine_processor(const SystemTree& tree);

// Cards on the bus, driver, LibTorch's CUDA half and NVIDIA's libraries beside it, NCCL; whether driver and CUDA pair.
// `torch` is the folder of libtorch_cpu.so, in the tree.
Examination examine_nvidia(const SystemTree& tree, const std::string& torch, Wanted wanted);

// Devices on the bus, driver, firmware, CANN, its operators, HCCL, torch_npu's library, and which of them pair.
// `libtorch` is LibTorch's version.
Examination examine_ascend(const SystemTree& tree, const std::string& torch, const std::string& libtorch,
                           Wanted wanted);

// How many devices of a vendor are on the PCI bus; `vendor` is "0x10de", `classes` how their class may begin.
int64_t count_on_bus(const SystemTree& tree, const std::string& vendor, const std::vector<std::string>& classes);

// The plug-in for the collectives of "cuda" or "npu": GLM_IMAGE_GROUP_LIBRARY, or the file of
// train/distributed/plugin.h beside the program or `torch`.
Finding group_plugin(const SystemTree& tree, const std::string& device, const std::string& torch);

// The library of a device: GLM_IMAGE_DEVICE_LIBRARY, or the one beside `torch`; absent or a problem with `advice` when
// there is neither.
Finding device_library(const SystemTree& tree, const std::string& library, const std::string& torch, State missing,
                       const std::string& advice);

// What was measured on a device that is open: a product in float32 and bfloat16, and reading memory. Any exception of
// the device becomes a problem.
void measure(const at::Device& device, Examination& examination);

}  // namespace glmimage::doctor
