#include "kernels/emulated_cuda/emulated_cuda.h"

#include <c10/util/Half.h>

#include <bit>
#include <cmath>
#include <functional>
#include <map>
#include <string>

#include "kernels/cuda/arguments.h"
#include "kernels/emulated_cuda/fibers.h"

// The language of the device, on the processor.
#define GLM_IMAGE_EMULATED
#define __device__
#define __forceinline__ inline
#define __shared__ static
#define threadIdx (::glmimage::test::thread_place)
#define blockIdx (::glmimage::test::block_place)
#define blockDim (::glmimage::test::block_size)

namespace glmimage::kernels::cuda {
namespace {

struct uint4 {
  unsigned x, y, z, w;
};
[[maybe_unused]] inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
[[maybe_unused]] inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
[[maybe_unused]] inline float half_to_float(unsigned short x) {
  return static_cast<float>(c10::Half(x, c10::Half::from_bits()));
}
[[maybe_unused]] inline unsigned short float_to_half(float x) { return c10::Half(x).x; }
[[maybe_unused]] inline uint4 load_once(const uint4* p) { return *p; }
[[maybe_unused]] inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
[[maybe_unused]] inline void __syncthreads() { test::meet_block(); }
[[maybe_unused]] inline float __shfl_xor_sync(unsigned, float value, int distance) {
  return test::exchange(value, distance);
}

}  // namespace
}  // namespace glmimage::kernels::cuda

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunknown-pragmas"
#pragma GCC diagnostic ignored "-Wstrict-aliasing"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include "kernels/cuda/device/prelude.cuh"
//
#include "kernels/cuda/device/attention.cuh"
#include "kernels/cuda/device/linear.cuh"
#include "kernels/cuda/device/modulation.cuh"
#include "kernels/cuda/device/norm.cuh"
#include "kernels/cuda/device/rope.cuh"
#pragma GCC diagnostic pop

namespace glmimage::test {
namespace {

namespace cuda = kernels::cuda;
using Body = std::function<void(const void* arguments)>;

template <typename T>
std::map<std::string, Body> bodies() {
  const auto body = [](auto function) -> Body { return [function](const void* arguments) { function(arguments); }; };
#define BODY(name, Arguments)                                                                  \
  {                                                                                            \
#name, body([](const void* a) { cuda::name<T>(*static_cast<const cuda::Arguments*>(a)); }) \
  }
  return {BODY(rms_norm, RmsNormArguments),
          BODY(add_normed, AddNormedArguments),
          BODY(modulated_norm, ModulatedNormArguments),
          BODY(gated_residual, GatedResidualArguments),
          BODY(rope, RopeArguments),
          BODY(swiglu, SwigluArguments),
          BODY(vector_floats, VectorArguments),
          BODY(vector_bytes, VectorArguments),
          BODY(vector_halves, VectorArguments),
          BODY(dequantise_bytes, DequantiseArguments),
          BODY(dequantise_halves, DequantiseArguments),
          BODY(decode_attention, DecodeAttentionArguments),
          BODY(join_attention, DecodeAttentionArguments)};
#undef BODY
}

const Body& body_of(const char* name, at::ScalarType type) {
  static const auto floats = bodies<float>(), halves = bodies<cuda::F16>(), brains = bodies<cuda::Bf16>();
  return (type == at::kFloat ? floats : type == at::kHalf ? halves : brains).at(name);
}

}  // namespace

void EmulatedCuda::start(const cuda::Kernel& kernel, const cuda::Launch& launch, const void* arguments) {
  ++started;
  const Body& body = body_of(kernel.name, launch.type);
  block_size = {static_cast<unsigned>(launch.threads), 1, 1};
  for (unsigned y = 0; y < launch.rows; ++y) {
    for (unsigned x = 0; x < launch.blocks; ++x) {
      block_place = {x, y, 0};
      run_block(block_size.x, [&] { body(arguments); });
    }
  }
}

}  // namespace glmimage::test
