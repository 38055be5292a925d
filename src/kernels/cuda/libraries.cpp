#include "kernels/cuda/libraries.h"

#include <dlfcn.h>
#include <link.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

#include "core/cache_folder.h"
#include "core/error.h"
#include "core/part_file.h"
#include "core/sha256.h"

namespace glmimage::kernels::cuda {
namespace {

namespace fs = std::filesystem;

constexpr int kMajor = 75, kMinor = 76;  // cudaDevAttrComputeCapabilityMajor, …Minor

// The runtime that LibTorch has loaded.
void* loaded_runtime() {
  for (const char* name : {"libcudart.so.13", "libcudart.so.12"}) {
    if (void* library = ::dlopen(name, RTLD_LAZY | RTLD_NOLOAD)) return library;
  }
  return nullptr;
}

// NVRTC, from the system's search path or from beside the runtime: wheels put NVIDIA's libraries into one folder.
void* compiler_beside(void* runtime) {
  fs::path folder;
  struct link_map* map = nullptr;
  if (::dlinfo(runtime, RTLD_DI_LINKMAP, &map) == 0 && map) folder = fs::path(map->l_name).parent_path();
  for (const char* name : {"libnvrtc.so.13", "libnvrtc.so.12"}) {
    if (void* library = ::dlopen(name, RTLD_NOW)) return library;
    if (void* library = ::dlopen((folder / name).c_str(), RTLD_NOW)) return library;
  }
  return nullptr;
}

template <typename Function>
bool find_function(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(::dlsym(library, name));
  return function != nullptr;
}

std::string read_file(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return in ? std::string(std::istreambuf_iterator<char>(in), {}) : std::string();
}

// A cache that cannot be written is no fault.
void keep(const fs::path& file, const std::string& bytes) {
  std::error_code error;
  fs::create_directories(file.parent_path(), error);
  try {
    PartFile part(file);
    part.write(bytes.data(), bytes.size());
    part.commit();
  } catch (const std::exception&) {
  }
}

// Where compiled kernels are kept between runs; empty: nowhere.
fs::path kept_kernels() {
  const char* chosen = std::getenv("GLM_IMAGE_CACHE");
  const fs::path folder = chosen && *chosen ? fs::path(chosen) : cache_folder().value_or(fs::path());
  return folder.empty() ? folder : folder / "cuda";
}

}  // namespace

const Libraries* Libraries::find() {
  static const Libraries* found = [] {
    auto* libraries = new Libraries;  // for good, as the libraries are
    if (libraries->open()) return libraries;
    delete libraries;
    return static_cast<Libraries*>(nullptr);
  }();
  return found;
}

bool Libraries::open() {
  void* const runtime = loaded_runtime();
  void* const compiler = runtime ? compiler_beside(runtime) : nullptr;
  if (!compiler) return false;
  return find_function(runtime, "cudaLibraryLoadData", library_load_) &&
         find_function(runtime, "cudaLibraryGetKernel", get_kernel_) &&
         find_function(runtime, "cudaLaunchKernel", launch_) &&
         find_function(runtime, "cudaDeviceGetAttribute", attribute_) &&
         find_function(runtime, "cudaGetErrorString", error_text_) &&
         find_function(compiler, "nvrtcVersion", version_) && find_function(compiler, "nvrtcCreateProgram", create_) &&
         find_function(compiler, "nvrtcCompileProgram", compile_) &&
         find_function(compiler, "nvrtcGetProgramLogSize", log_size_) &&
         find_function(compiler, "nvrtcGetProgramLog", log_) &&
         find_function(compiler, "nvrtcGetCUBINSize", cubin_size_) &&
         find_function(compiler, "nvrtcGetCUBIN", cubin_) && find_function(compiler, "nvrtcDestroyProgram", destroy_);
}

void Libraries::check(int fault, const std::string& doing) const {
  if (fault != 0) fail(ErrorKind::device, "CUDA, ", doing, ": ", error_text_(fault));
}

std::string Libraries::compile(const std::string& text, const std::string& name,
                               const std::string& architecture) const {
  void* program = nullptr;
  const std::string target = "--gpu-architecture=" + architecture;
  const std::vector<const char*> options = {target.c_str(), "--std=c++17"};
  int fault = create_(&program, text.c_str(), name.c_str(), 0, nullptr, nullptr);
  if (fault == 0) fault = compile_(program, static_cast<int>(options.size()), options.data());
  size_t size = 0;
  std::string out;
  if (fault != 0) {
    std::string log;
    if (program && log_size_(program, &size) == 0) log.resize(size), log_(program, log.data());
    fail(ErrorKind::device, "NVRTC does not compile the kernels of ", name, " for ", architecture, ": ", log);
  }
  if (cubin_size_(program, &size) == 0) out.resize(size), fault = cubin_(program, out.data());
  destroy_(&program);
  if (fault != 0 || out.empty()) fail(ErrorKind::device, "NVRTC gives no code for ", architecture);
  return out;
}

void* Libraries::load(const std::string& text, const std::string& name, int device) const {
  int major = 0, minor = 0, release = 0, revision = 0;
  check(attribute_(&major, kMajor, device), "asking for the device's kind");
  check(attribute_(&minor, kMinor, device), "asking for the device's kind");
  version_(&release, &revision);
  const std::string architecture = concat("sm_", major, minor);
  const std::string key = sha256_hex(concat(text, architecture, " ", release, ".", revision));
  const fs::path folder = kept_kernels(), file = folder / concat(name, "-", architecture, "-", key, ".cubin");
  std::string code = folder.empty() ? "" : read_file(file);
  void* library = nullptr;
  const auto load = [&] { return library_load_(&library, code.data(), nullptr, nullptr, 0, nullptr, nullptr, 0); };
  if (!code.empty() && load() == 0) return library;
  code = compile(text, name, architecture);
  if (!folder.empty()) keep(file, code);
  check(load(), concat("loading the kernels of ", name));
  return library;
}

void* Libraries::function(void* library, const char* name) const {
  void* kernel = nullptr;
  check(get_kernel_(&kernel, library, name), concat("looking for the kernel ", name));
  return kernel;
}

void Libraries::start(void* function, Grid blocks, Grid threads, void** arguments, void* stream) const {
  check(launch_(function, blocks, threads, arguments, 0, stream), "starting a kernel");
}

}  // namespace glmimage::kernels::cuda
