// Types and sums for the kernels. Nothing is included: this is compiled at run time, where no headers may be.
namespace glmimage::kernels::cuda {

struct Bf16 {
  unsigned short bits;
};
struct F16 {
  unsigned short bits;
};
using F32 = float;

#ifndef GLM_IMAGE_EMULATED
__device__ __forceinline__ float half_to_float(unsigned short bits) {
  float y;
  asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(bits));
  return y;
}
__device__ __forceinline__ unsigned short float_to_half(float x) {
  unsigned short y;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y) : "f"(x));
  return y;
}
// Read once: leaves the nearer cache to what is read again.
__device__ __forceinline__ uint4 load_once(const uint4* p) {
  uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(p));
  return v;
}
#endif

__device__ __forceinline__ float widen(float x) { return x; }
__device__ __forceinline__ float widen(Bf16 x) { return __uint_as_float(static_cast<unsigned>(x.bits) << 16); }
__device__ __forceinline__ float widen(F16 x) { return half_to_float(x.bits); }

template <class T>
__device__ __forceinline__ T narrow(float x);
template <>
__device__ __forceinline__ float narrow<float>(float x) {
  return x;
}
template <>
__device__ __forceinline__ Bf16 narrow<Bf16>(float x) {
  const unsigned bits = __float_as_uint(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return {0x7fff};
  return {static_cast<unsigned short>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};  // to nearest, ties to even
}
template <>
__device__ __forceinline__ F16 narrow<F16>(float x) {
  return {float_to_half(x)};
}
template <class T>
__device__ __forceinline__ float rounded(float x) {
  return widen(narrow<T>(x));
}

// 16 bytes of T.
template <class T>
struct Chunk {
  static constexpr int kCount = 16 / sizeof(T);
};

__device__ __forceinline__ void unpack(uint4 raw, float (&v)[4], float) {
  v[0] = __uint_as_float(raw.x), v[1] = __uint_as_float(raw.y);
  v[2] = __uint_as_float(raw.z), v[3] = __uint_as_float(raw.w);
}
__device__ __forceinline__ void unpack(uint4 raw, float (&v)[8], Bf16) {
  const unsigned words[4] = {raw.x, raw.y, raw.z, raw.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    v[2 * i] = __uint_as_float(words[i] << 16);
    v[2 * i + 1] = __uint_as_float(words[i] & 0xffff0000u);
  }
}
__device__ __forceinline__ void unpack(uint4 raw, float (&v)[8], F16) {
  const unsigned words[4] = {raw.x, raw.y, raw.z, raw.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    v[2 * i] = half_to_float(static_cast<unsigned short>(words[i] & 0xffffu));
    v[2 * i + 1] = half_to_float(static_cast<unsigned short>(words[i] >> 16));
  }
}
template <class T>
__device__ __forceinline__ void load_chunk(const T* p, float (&v)[Chunk<T>::kCount]) {
  unpack(*reinterpret_cast<const uint4*>(p), v, T{});
}
template <class T>
__device__ __forceinline__ void store_chunk(T* p, const float (&v)[Chunk<T>::kCount]) {
  T values[Chunk<T>::kCount];
#pragma unroll
  for (int i = 0; i < Chunk<T>::kCount; ++i) values[i] = narrow<T>(v[i]);
  *reinterpret_cast<uint4*>(p) = *reinterpret_cast<const uint4*>(values);
}

template <class T>
__device__ __forceinline__ void copy_chunk(const T* from, T* to) {
  *reinterpret_cast<uint4*>(to) = *reinterpret_cast<const uint4*>(from);
}

__device__ __forceinline__ float minus_infinity() { return __uint_as_float(0xff800000u); }

__device__ __forceinline__ float warp_sum(float v) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) v += __shfl_xor_sync(0xffffffffu, v, distance);
  return v;
}
__device__ __forceinline__ float warp_max(float v) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, distance));
  return v;
}
// Of all threads of a block of kRowThreads.
__device__ __forceinline__ float block_sum(float v) {
  __shared__ float parts[kRowThreads / 32];
  v = warp_sum(v);
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = v;
  __syncthreads();
  float sum = 0;
#pragma unroll
  for (int i = 0; i < kRowThreads / 32; ++i) sum += parts[i];
  __syncthreads();  // the next sum writes there
  return sum;
}

// A row of up to kRowThreads · kRowChunks chunks, spread over the block's threads.
template <class T>
struct Row {
  static constexpr int kCount = Chunk<T>::kCount;
  float v[kRowChunks][kCount];

  // f(c, i): chunk c of this thread begins at value i of the row.
  template <class F>
  static __device__ __forceinline__ void each(int width, F f) {
#pragma unroll
    for (int c = 0; c < kRowChunks; ++c) {
      const int i = (static_cast<int>(threadIdx.x) + c * kRowThreads) * kCount;
      if (i < width) f(c, i);
    }
  }
  __device__ __forceinline__ void load(const T* row, int width) {
    each(width, [&](int c, int i) { load_chunk(row + i, v[c]); });
  }
  __device__ __forceinline__ void store(T* row, int width) const {
    each(width, [&](int c, int i) { store_chunk(row + i, v[c]); });
  }
  // The block's sum of g(value).
  template <class G>
  __device__ __forceinline__ float sum(int width, G g) const {
    float mine = 0;
    each(width, [&](int c, int) {
#pragma unroll
      for (int e = 0; e < kCount; ++e) mine += g(v[c][e]);
    });
    return block_sum(mine);
  }
};

}  // namespace glmimage::kernels::cuda

// The kernel's entry, of the type this text is compiled for.
#ifdef GLM_IMAGE_EMULATED
#define GLM_IMAGE_KERNEL(name, Arguments, threads)
#else
#define GLM_IMAGE_KERNEL(name, Arguments, threads)                                                   \
  extern "C" __global__ void __launch_bounds__(threads) name(glmimage::kernels::cuda::Arguments a) { \
    glmimage::kernels::cuda::name<glmimage::kernels::cuda::GLM_IMAGE_TYPE>(a);                       \
  }
#endif
