#include "kernels/cuda/runtime.h"

#include <c10/core/DeviceGuard.h>
#include <c10/core/Stream.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>

#include <map>
#include <mutex>
#include <tuple>

#include "core/error.h"
#include "kernels/cuda/arguments.h"
#include "kernels/cuda/libraries.h"
#include "kernels/cuda/source.h"
#include "kernels/device_operator.h"

namespace glmimage::kernels::cuda {
namespace {

const char* type_name(at::ScalarType type) {
  switch (type) {
    case at::kBFloat16: return "Bf16";
    case at::kHalf: return "F16";
    case at::kFloat: return "F32";
    default: return nullptr;
  }
}

// Compiles what is asked for when it is asked for first, and keeps it.
class Compiled final : public Runtime {
 public:
  bool serves(const at::Device& device) override { return device.is_cuda() && Libraries::find() != nullptr; }

  void start(const Kernel& kernel, const Launch& launch, const void* arguments) override {
    const Libraries& libraries = *Libraries::find();
    const c10::DeviceGuard guard(launch.device);
    void* values[] = {const_cast<void*>(arguments)};
    void* const stream = c10::impl::getDeviceGuardImpl(launch.device.type())->getStream(launch.device).native_handle();
    const Libraries::Grid grid{static_cast<unsigned>(launch.blocks), static_cast<unsigned>(launch.rows), 1};
    libraries.start(function(libraries, kernel, launch), grid, {static_cast<unsigned>(launch.threads), 1, 1}, values,
                    stream);
  }

 private:
  void* function(const Libraries& libraries, const Kernel& kernel, const Launch& launch) {
    const std::lock_guard lock(mutex_);
    void*& found = functions_[{launch.device.index(), launch.type, kernel.name}];
    if (found) return found;
    void*& library = loaded_[{launch.device.index(), launch.type, kernel.file}];
    if (!library) {
      const std::string text = concat("#define GLM_IMAGE_TYPE ", type_name(launch.type), "\n", source_of(kernel.file));
      library = libraries.load(text, kernel.file, launch.device.index());
    }
    return found = libraries.function(library, kernel.name);
  }

  std::mutex mutex_;
  // By device and type, and by literals, which are told apart by their addresses.
  std::map<std::tuple<int, at::ScalarType, const char*>, void*> functions_;
  std::map<std::tuple<int, at::ScalarType, std::string>, void*> loaded_;
};

Runtime* in_place = nullptr;

}  // namespace

Runtime& runtime() {
  static Compiled own;
  return in_place ? *in_place : own;
}

void use_runtime(Runtime* other) { in_place = other; }

bool serves(std::initializer_list<at::Tensor> tensors) {
  const at::Tensor& first = *tensors.begin();
  if (!type_name(first.scalar_type()) || !runtime().serves(first.device()) || asks_for_gradient(tensors)) return false;
  for (const at::Tensor& each : tensors) {
    if (each.scalar_type() != first.scalar_type() || each.device() != first.device()) return false;
  }
  return true;
}

bool fits_a_block(const at::Tensor& x) {
  return x.size(-1) * static_cast<int64_t>(x.element_size()) <= int64_t{16} * kRowThreads * kRowChunks;
}

bool in_chunks(const at::Tensor& x) {
  const int64_t bytes = static_cast<int64_t>(x.element_size());
  if (x.dim() < 1 || x.stride(-1) != 1 || x.size(-1) * bytes % 16 != 0) return false;
  if (reinterpret_cast<uintptr_t>(x.const_data_ptr()) % 16 != 0) return false;
  for (int64_t i = 0; i + 1 < x.dim(); ++i) {
    if (x.size(i) > 1 && x.stride(i) * bytes % 16 != 0) return false;
  }
  return true;
}

}  // namespace glmimage::kernels::cuda
