#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "core/threads.h"

namespace glmimage {

// A device a user asked for, and the library that drives it.
struct DeviceSpec {
  at::Device device = at::Device(at::kCPU);
  std::string library;  // "libtorch_cuda.so", "libtorch_npu.so"; empty for the CPU
};

// "cpu", "cuda", "cuda:1", "npu" (Ascend), "npu:0". No number means 0. Throws ErrorKind::usage for anything else.
DeviceSpec parse_device(const std::string& text);

// The folder of the libtorch_cpu.so this process runs with; empty when the system does not say.
std::filesystem::path libtorch_folder();

// Loads the device's library and proves by a small tensor that the device works. Call it before anything else is asked
// of LibTorch: LibTorch looks for the CUDA library once and remembers that it was absent.
//
// The library is the file named by GLM_IMAGE_DEVICE_LIBRARY where that is set, else the one beside the libtorch_cpu.so
// in use, else what the system's search path offers. For Ascend it is torch_npu's build without Python, which exports
// torch_npu::init_npu; its device type is LibTorch's PrivateUse1 under the name "npu". A library that is already in the
// process and has registered that name is used as it is.
//
// Throws ErrorKind::device with one line: no such library, no driver, no such device.
at::Device open_device(const DeviceSpec& spec);

// Whether a library was loaded for a device, which has to be left in order when the process ends.
bool has_device_library();

// Bytes that can still be allocated on the device (on a CPU free_memory_bytes), or nothing where its library cannot
// tell.
std::optional<int64_t> free_bytes(const at::Device& device);

// "cpu", "cuda:0", "npu:0": the text parse_device reads.
std::string device_name(const at::Device& device);

}  // namespace glmimage
