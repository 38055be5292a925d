#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Allocator.h>

namespace emulated_npu {

// The device's allocator. Its pointers are host addresses with a bit set that no process address has: pointer
// arithmetic works on them, reading or writing through them faults, as it should with device memory.
c10::Allocator* device_allocator();

// The host address behind a device pointer.
void* host_address(const void* device_pointer);

// A CPU tensor over the same memory as a device tensor (a CPU tensor is returned as it is): the device's own view of
// its memory. Valid while `tensor` lives.
at::Tensor host_view(const at::Tensor& tensor);

}  // namespace emulated_npu
