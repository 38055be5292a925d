#include "support/emulated_npu.h"

#include <dlfcn.h>

#include <cstdlib>
#include <stdexcept>

#include "core/device.h"

namespace glmimage::test {
namespace {

template <typename Function>
Function* entry(const char* name) {
  void* address = ::dlsym(RTLD_DEFAULT, name);
  if (!address) throw std::runtime_error(std::string("the emulated device lacks ") + name);
  return reinterpret_cast<Function*>(address);
}

int64_t count(const char* name) { return entry<int64_t()>(name)(); }

}  // namespace

std::filesystem::path emulated_npu_library() { return GLM_IMAGE_EMULATED_NPU; }

EmulatedNpu EmulatedNpu::open() {
  ::setenv("GLM_IMAGE_DEVICE_LIBRARY", emulated_npu_library().c_str(), 1);
  EmulatedNpu out;
  out.device_ = open_device(parse_device("npu"));
  ::unsetenv("GLM_IMAGE_DEVICE_LIBRARY");
  return out;
}

void EmulatedNpu::reset_counts() const { entry<void()>("emulated_npu_reset_counts")(); }

int64_t EmulatedNpu::ops(const std::string& name) const {
  return entry<int64_t(const char*)>("emulated_npu_ops")(name.c_str());
}

int64_t EmulatedNpu::bytes_to_host() const { return count("emulated_npu_bytes_to_host"); }
int64_t EmulatedNpu::bytes_to_device() const { return count("emulated_npu_bytes_to_device"); }
int64_t EmulatedNpu::allocated_bytes() const { return count("emulated_npu_allocated_bytes"); }
void EmulatedNpu::offer_operators(bool offer) const { entry<void(bool)>("emulated_npu_offer_operators")(offer); }
int64_t EmulatedNpu::peak_bytes() const { return count("emulated_npu_peak_bytes"); }
int64_t EmulatedNpu::live_bytes() const { return count("emulated_npu_live_bytes"); }

}  // namespace glmimage::test
