# LibTorch without its CMake package: the wheel's TorchConfig asks for a CUDA toolkit, which nothing here needs.
# Gives the imported target LibTorch::torch (libtorch_cpu + libc10). Device back ends are loaded at run time.
if(GLM_IMAGE_TORCH)
  set(_root ${GLM_IMAGE_TORCH})
else()
  set(_root ${CMAKE_SOURCE_DIR}/.deps/site/torch)
endif()
find_path(LIBTORCH_INCLUDE_DIR ATen/core/Tensor.h PATHS ${_root}/include NO_DEFAULT_PATH NO_CMAKE_FIND_ROOT_PATH)
find_library(LIBTORCH_CPU torch_cpu PATHS ${_root}/lib NO_DEFAULT_PATH NO_CMAKE_FIND_ROOT_PATH)
find_library(LIBTORCH_C10 c10 PATHS ${_root}/lib NO_DEFAULT_PATH NO_CMAKE_FIND_ROOT_PATH)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(LibTorch
  REQUIRED_VARS LIBTORCH_CPU LIBTORCH_C10 LIBTORCH_INCLUDE_DIR
  REASON_FAILURE_MESSAGE "run scripts/bootstrap, or pass -DGLM_IMAGE_TORCH=/path/to/libtorch")
if(LibTorch_FOUND AND NOT TARGET LibTorch::torch)
  get_filename_component(_lib ${LIBTORCH_CPU} DIRECTORY)
  file(GLOB _cuda_libs ${_lib}/../../nvidia/cu13/lib)
  add_library(LibTorch::torch INTERFACE IMPORTED)
  set_target_properties(LibTorch::torch PROPERTIES
    INTERFACE_INCLUDE_DIRECTORIES "${LIBTORCH_INCLUDE_DIR};${LIBTORCH_INCLUDE_DIR}/torch/csrc/api/include"
    INTERFACE_SYSTEM_INCLUDE_DIRECTORIES "${LIBTORCH_INCLUDE_DIR};${LIBTORCH_INCLUDE_DIR}/torch/csrc/api/include")
  # Lets <ATen/TensorOperators.h> (x * y, x + y) do without all of ATen/Functions.h: seconds per file.
  target_compile_definitions(LibTorch::torch INTERFACE AT_PER_OPERATOR_HEADERS)
  target_link_options(LibTorch::torch INTERFACE
    -Wl,--no-as-needed -Wl,--allow-shlib-undefined -Wl,-rpath,${_lib})
  target_link_libraries(LibTorch::torch INTERFACE ${LIBTORCH_CPU} ${LIBTORCH_C10})
  # Kernels run on LibTorch's threads, so they link the OpenMP runtime it brings, whatever its name, not a second one.
  file(GLOB LIBTORCH_OPENMP ${_lib}/libgomp*.so*)
  if(NOT LIBTORCH_OPENMP)
    set(LIBTORCH_OPENMP ${OpenMP_CXX_LIBRARIES})
  endif()
endif()
