#pragma once

#include <string>

// CUDA's runtime and NVRTC, found in the process at run time: the few of their functions that kernels need.
namespace glmimage::kernels::cuda {

class Libraries {
 public:
  struct Grid {  // dim3
    unsigned x, y, z;
  };

  // Null where one of the two is not there.
  static const Libraries* find();

  // All throw ErrorKind::device with what CUDA or its compiler says.
  // Compiles `text` for `device`, or takes what was compiled before from the disk (below GLM_IMAGE_CACHE, else
  // core/cache_folder.h), and loads it there.
  void* load(const std::string& text, const std::string& name, int device) const;
  void* function(void* library, const char* name) const;
  void start(void* function, Grid blocks, Grid threads, void** arguments, void* stream) const;

 private:
  Libraries() = default;
  bool open();
  std::string compile(const std::string& text, const std::string& name, const std::string& architecture) const;
  void check(int fault, const std::string& doing) const;

  // cuda_runtime_api.h (from 12.8 on) and nvrtc.h.
  int (*library_load_)(void**, const void*, void*, void**, unsigned, void*, void**, unsigned) = nullptr;
  int (*get_kernel_)(void**, void*, const char*) = nullptr;
  int (*launch_)(const void*, Grid, Grid, void**, size_t, void*) = nullptr;
  int (*attribute_)(int*, int, int) = nullptr;
  const char* (*error_text_)(int) = nullptr;
  int (*version_)(int*, int*) = nullptr;
  int (*create_)(void**, const char*, const char*, int, const char* const*, const char* const*) = nullptr;
  int (*compile_)(void*, int, const char* const*) = nullptr;
  int (*log_size_)(void*, size_t*) = nullptr;
  int (*log_)(void*, char*) = nullptr;
  int (*cubin_size_)(void*, size_t*) = nullptr;
  int (*cubin_)(void*, char*) = nullptr;
  int (*destroy_)(void**) = nullptr;
};

}  // namespace glmimage::kernels::cuda
