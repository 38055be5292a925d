#include "core/device.h"

#include <ATen/Context.h>
#include <ATen/ops/ones.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/DeviceType.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <dlfcn.h>
#include <link.h>

#include <atomic>
#include <cctype>
#include <cstdlib>

#include "core/error.h"
#include "core/memory.h"

namespace glmimage {
namespace {

namespace fs = std::filesystem;

constexpr const char* kLibraryVariable = "GLM_IMAGE_DEVICE_LIBRARY";
constexpr const char* kCudaLibrary = "libtorch_cuda.so";
constexpr const char* kNpuLibrary = "libtorch_npu.so";
constexpr const char* kNpuName = "npu";  // what PrivateUse1 is called once Ascend's library has registered itself

// Ascend's C++ entry points (torch_npu/csrc/libs/init_npu.h), by their names in the Itanium C++ ABI: the library is
// loaded at run time and its headers are not needed to build this program.
constexpr const char* kInitByDevice = "_ZN9torch_npu8init_npuERKN3c106DeviceE";  // init_npu(const c10::Device&)
constexpr const char* kInitByIndex = "_ZN9torch_npu8init_npuEa";                 // init_npu(c10::DeviceIndex)
constexpr const char* kFinalize = "_ZN9torch_npu12finalize_npuEv";               // finalize_npu()

// The message without LibTorch's stack traces and hints.
std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

[[noreturn]] void fail_device(const at::Device& device, const std::string& why) {
  fail(ErrorKind::device, "device '", device_name(device), "' is not available: ", why);
}

std::string installing(const DeviceSpec& spec) {
  return spec.library == kCudaLibrary ? "scripts/bootstrap --cuda installs it" : "docs/hardware.md says how to get it";
}

// Loads the library for good: LibTorch keeps pointers into it, so it is never unloaded.
std::atomic<bool> library_loaded = false;

void* load_library(const DeviceSpec& spec) {
  std::error_code error;
  std::string file = spec.library;
  if (const char* chosen = std::getenv(kLibraryVariable); chosen && *chosen) {
    file = chosen;
    if (!fs::exists(file, error)) fail_device(spec.device, concat(kLibraryVariable, " names no file: ", file));
  } else if (fs::path beside = libtorch_folder() / spec.library; fs::exists(beside, error)) {
    file = beside.string();
  }
  if (void* library = ::dlopen(file.c_str(), RTLD_NOW | RTLD_GLOBAL)) {
    library_loaded = true;
    return library;
  }
  const char* reported = ::dlerror();
  const std::string why = reported ? first_line(reported) : "unknown reason";
  if (why.rfind(spec.library + ": cannot open shared object file", 0) == 0) {
    fail_device(spec.device, concat(spec.library, " was not found (", installing(spec), ")"));
  }
  fail_device(spec.device, concat(file, " cannot be loaded: ", why));
}

bool npu_registered() { return c10::is_privateuse1_backend_registered() && c10::get_privateuse1_backend() == kNpuName; }

void finalize_at_exit(void* library) {
  // The runtime must be shut down before the library's own static objects are; handlers added last run first.
  static void (*finalize)() = nullptr;
  finalize = reinterpret_cast<void (*)()>(::dlsym(library, kFinalize));
  if (!finalize) return;
  std::atexit([] {
    try {
      finalize();
    } catch (const std::exception&) {  // the process ends anyway
    }
  });
}

void open_npu(const DeviceSpec& spec) {
  if (npu_registered()) return;
  if (c10::is_privateuse1_backend_registered()) {
    fail_device(spec.device, concat("another device library is loaded: ", c10::get_privateuse1_backend()));
  }
  void* library = load_library(spec);
  if (!npu_registered()) fail_device(spec.device, "the library that was loaded does not offer the device 'npu'");
  if (void* entry = ::dlsym(library, kInitByDevice)) {
    reinterpret_cast<void (*)(const c10::Device&)>(entry)(spec.device);
  } else if (void* by_index = ::dlsym(library, kInitByIndex)) {
    reinterpret_cast<void (*)(c10::DeviceIndex)>(by_index)(spec.device.index());
  }  // else a library that initialises itself with the first tensor
  finalize_at_exit(library);
}

// A library that loads proves little; a sum computed on the device and read back proves that it works.
void probe(const at::Device& device) {
  if (!c10::impl::hasDeviceGuardImpl(device.type())) fail_device(device, "its library offers no device management");
  const int count = c10::impl::getDeviceGuardImpl(device.type())->deviceCount();
  if (count > 0 && device.index() >= count) {
    fail_device(device,
                concat("the system has ", count, count == 1 ? " such device" : " such devices", ", counted from 0"));
  }
  // No devices at all: the attempt says why (no driver, no permission, …).
  const at::Tensor x = at::ones({2}, at::TensorOptions(at::kFloat).device(device));  // (2)
  if (x.add(x).sum().item<double>() != 4.0) fail_device(device, "1 + 1 was not 2 there");
}

}  // namespace

DeviceSpec parse_device(const std::string& text) {
  const size_t colon = text.find(':');
  const std::string kind = text.substr(0, colon);
  std::optional<int> index;
  if (colon != std::string::npos) {
    const std::string number = text.substr(colon + 1);
    // At most 127: LibTorch counts devices in a signed byte.
    if (number.empty() || number.size() > 3 || number.find_first_not_of("0123456789") != std::string::npos ||
        std::stoi(number) > 127) {
      fail(ErrorKind::usage, "device '", text, "' should end in a number from 0 to 127, as in 'cuda:0'");
    }
    index = std::stoi(number);
  }
  const auto device = [&](at::DeviceType type) {
    return at::Device(type, static_cast<c10::DeviceIndex>(index.value_or(0)));
  };
  if (text == "cpu") return {};
  if (kind == "cuda") return {device(at::kCUDA), kCudaLibrary};
  if (kind == kNpuName) return {device(at::kPrivateUse1), kNpuLibrary};
  fail(ErrorKind::usage, "device '", text, "' is not known; choose cpu, cuda, cuda:N, npu or npu:N");
}

fs::path libtorch_folder() {
  void* library = ::dlopen("libtorch_cpu.so", RTLD_LAZY | RTLD_NOLOAD);
  if (!library) return {};
  struct link_map* map = nullptr;
  fs::path folder;
  if (::dlinfo(library, RTLD_DI_LINKMAP, &map) == 0 && map) folder = fs::path(map->l_name).parent_path();
  ::dlclose(library);
  return folder;
}

at::Device open_device(const DeviceSpec& spec) {
  if (spec.device.is_cpu()) return spec.device;
  try {
    if (spec.device.is_privateuseone()) {
      open_npu(spec);
    } else {
      load_library(spec);
      at::globalContext().setAllowTF32CuDNN(false);  // float32 means float32, in convolutions as in products
    }
    probe(spec.device);
  } catch (const Error&) {
    throw;
  } catch (const c10::Error& e) {
    fail_device(spec.device, first_line(e.what_without_backtrace()));
  } catch (const std::exception& e) {
    fail_device(spec.device, first_line(e.what()));
  }
  return spec.device;
}

bool has_device_library() { return library_loaded; }

std::optional<int64_t> free_bytes(const at::Device& device) {
  if (device.is_cpu()) return free_memory_bytes();
  auto* allocator = dynamic_cast<c10::DeviceAllocator*>(c10::GetAllocator(device.type()));
  if (!allocator) return std::nullopt;
  try {
    return static_cast<int64_t>(allocator->getMemoryInfo(device.index()).first);
  } catch (const c10::NotImplementedError&) {
    return std::nullopt;
  }
}

std::string device_name(const at::Device& device) {
  std::string kind = device.is_privateuseone() ? kNpuName : c10::DeviceTypeName(device.type(), true);
  return device.has_index() && !device.is_cpu() ? concat(kind, ":", static_cast<int>(device.index())) : kind;
}

}  // namespace glmimage
