#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <initializer_list>
#include <string>

// Kernels of our own for NVIDIA devices (device/*.cuh), without a toolkit and without linking: their text is part of
// the program and is compiled at run time by NVRTC, which comes with LibTorch's CUDA libraries, for the very device;
// CUDA's runtime, which LibTorch has loaded, starts them. Where NVRTC is not found, compositions run instead.
namespace glmimage::kernels::cuda {

// A kernel's name, and the file of device/ it is in.
struct Kernel {
  const char *file, *name;
};

struct Launch {
  at::Device device;
  at::ScalarType type;  // bfloat16, float16 or float32: what the kernel is compiled for
  int64_t blocks = 1, rows = 1;
  int threads = 0;
};

// Who runs kernels. Tests put another in its place.
class Runtime {
 public:
  virtual ~Runtime() = default;
  virtual bool serves(const at::Device& device) = 0;
  // Queues the kernel on the device's current stream; `arguments` is one of arguments.h and is copied. Throws
  // ErrorKind::device when it cannot be compiled or started.
  virtual void start(const Kernel& kernel, const Launch& launch, const void* arguments) = 0;
};

Runtime& runtime();
// For tests: `other` from now on, or the program's own when null.
void use_runtime(Runtime* other);

// Kernels can run on these tensors, of one type that kernels know, and nobody asks for a gradient.
bool serves(std::initializer_list<at::Tensor> tensors);

// A block holds a row of x: at most 32 KB.
bool fits_a_block(const at::Tensor& x);

// Rows of the last dimension, dense and on 16 bytes, of a multiple of 16 bytes: what kernels read at a time.
bool in_chunks(const at::Tensor& x);

}  // namespace glmimage::kernels::cuda
