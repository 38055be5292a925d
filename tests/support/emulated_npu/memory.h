#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Allocator.h>
#include <c10/core/Device.h>

namespace emulated_npu {

// Devices there are, from EMULATED_NPU_DEVICES (1). They are one another's equals and share their memory's size.
c10::DeviceIndex device_count();
// The calling thread's device, which allocations are made on. Refuses one that is not there.
c10::DeviceIndex current_device();
void set_current_device(c10::DeviceIndex index);

// The device's allocator. Its pointers are host addresses with a bit set that no process address has: pointer
// arithmetic works on them, reading or writing through them faults, as it should with device memory.
c10::Allocator* device_allocator();

// The host address behind a device pointer.
void* host_address(const void* device_pointer);

// A CPU tensor over the same memory as a device tensor (a CPU tensor is returned as it is): the device's own view of
// its memory. Valid while `tensor` lives.
at::Tensor host_view(const at::Tensor& tensor);

}  // namespace emulated_npu
