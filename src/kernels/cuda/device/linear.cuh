// One token through a matrix: every weight is read once, 16 bytes a thread, a few rows of the matrix to a warp, which
// share what they read of the token. Sums are float32.
namespace glmimage::kernels::cuda {

__device__ __forceinline__ float scale_at(const void* scale, int is_float, long long i) {
  return is_float ? static_cast<const float*>(scale)[i] : widen(static_cast<const Bf16*>(scale)[i]);
}

// Weights of a row as they lie in memory. kCount of them are 16 bytes. A warp takes kRows rows and asks for kAhead chunks
// of each before it multiplies: the fastest of a dozen choices on an H100 (docs/performance.md).
template <class T>
struct Floats {
  static constexpr int kCount = Chunk<T>::kCount, kRows = kFloatRows, kAhead = 4;
  static constexpr bool kScaled = false;
  static __device__ __forceinline__ const uint4* chunk(const void* weight, long long i) {
    return reinterpret_cast<const uint4*>(static_cast<const T*>(weight) + i);
  }
  static __device__ __forceinline__ float product(uint4 raw, const float (&x)[kCount], float) {
    float w[kCount], sum = 0;
    unpack(raw, w, T{});
#pragma unroll
    for (int e = 0; e < kCount; ++e) sum += w[e] * x[e];
    return sum;
  }
};

struct Bytes {
  static constexpr int kCount = 16, kRows = kFewBitRows, kAhead = 2;
  static constexpr bool kScaled = true;
  static __device__ __forceinline__ const uint4* chunk(const void* weight, long long i) {
    return reinterpret_cast<const uint4*>(static_cast<const signed char*>(weight) + i);
  }
  // The byte plus 128 stands in a float's upper fraction bits behind 256: 256 … 511, exactly.
  static __device__ __forceinline__ float value(unsigned word, int b) {
    const unsigned placed = b < 2 ? word << (15 - 8 * b) : word >> (8 * b - 15);
    return __uint_as_float((placed & 0x007f8000u) ^ 0x43c00000u);
  }
  static __device__ __forceinline__ float product(uint4 raw, const float (&x)[kCount], float x_sum) {
    const unsigned words[4] = {raw.x, raw.y, raw.z, raw.w};
    float sum = 0;
#pragma unroll
    for (int e = 0; e < kCount; ++e) sum += value(words[e / 4], e % 4) * x[e];
    return sum - 384.0f * x_sum;
  }
};

struct Halves {
  static constexpr int kCount = 32, kRows = kFewBitRows, kAhead = 1;
  static constexpr bool kScaled = true;
  static __device__ __forceinline__ const uint4* chunk(const void* weight, long long i) {
    return reinterpret_cast<const uint4*>(static_cast<const unsigned char*>(weight) + i / 2);
  }
  // The four bits, which are the value plus 8, stand in a float's upper fraction bits behind 16: 16 … 31, exactly.
  static __device__ __forceinline__ float value(unsigned word, int n) {
    const unsigned placed = n < 5 ? word << (19 - 4 * n) : word >> (4 * n - 19);
    return __uint_as_float((placed & 0x00780000u) | 0x41800000u);
  }
  static __device__ __forceinline__ float product(uint4 raw, const float (&x)[kCount], float x_sum) {
    const unsigned words[4] = {raw.x, raw.y, raw.z, raw.w};
    float sum = 0;
#pragma unroll
    for (int e = 0; e < kCount; ++e) sum += value(words[e / 8], e % 8) * x[e];
    return sum - 24.0f * x_sum;
  }
};

template <class T, class W>
__device__ void through_matrix(const VectorArguments& a) {
  constexpr int kCount = W::kCount, kRows = W::kRows, kAhead = W::kAhead;
  const int lane = static_cast<int>(threadIdx.x) % 32, warps = static_cast<int>(blockDim.x) / 32;
  const int first_row = (static_cast<int>(blockIdx.x) * warps + static_cast<int>(threadIdx.x) / 32) * kRows;
  if (first_row >= a.out) return;
  const T* x = static_cast<const T*>(a.x);
  const int group = a.in / a.groups;
  float sums[kRows] = {};
  for (int begin = lane * kCount; begin < a.in; begin += 32 * kCount * kAhead) {
    uint4 raw[kAhead][kRows];
#pragma unroll
    for (int step = 0; step < kAhead; ++step) {
      const int i = begin + step * 32 * kCount;
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        // Rows behind the last read the last again, and are not stored.
        const long long row = first_row + r < a.out ? first_row + r : a.out - 1;
        if (i < a.in) raw[step][r] = load_once(W::chunk(a.weight, row * a.in + i));
      }
    }
#pragma unroll
    for (int step = 0; step < kAhead; ++step) {
      const int i = begin + step * 32 * kCount;
      if (i >= a.in) continue;
      float values[kCount], x_sum = 0;
#pragma unroll
      for (int c = 0; c < kCount; c += Chunk<T>::kCount) {
        float part[Chunk<T>::kCount];
        load_chunk(x + i + c, part);
#pragma unroll
        for (int e = 0; e < Chunk<T>::kCount; ++e) {
          values[c + e] = part[e];
          if (W::kScaled) x_sum += part[e];
        }
      }
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        const long long row = first_row + r < a.out ? first_row + r : a.out - 1;
        const float product = W::product(raw[step][r], values, x_sum);
        sums[r] += W::kScaled ? product * scale_at(a.scale, a.scale_is_float, row * a.groups + i / group) : product;
      }
    }
  }
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    const float sum = warp_sum(sums[r]);
    if (lane != 0 || first_row + r >= a.out) continue;
    const float bias = a.bias ? widen(static_cast<const T*>(a.bias)[first_row + r]) : 0;
    static_cast<T*>(a.y)[first_row + r] = narrow<T>(sum + bias);
  }
}

template <class T>
__device__ void vector_floats(const VectorArguments& a) {
  through_matrix<T, Floats<T>>(a);
}
template <class T>
__device__ void vector_bytes(const VectorArguments& a) {
  through_matrix<T, Bytes>(a);
}
template <class T>
__device__ void vector_halves(const VectorArguments& a) {
  through_matrix<T, Halves>(a);
}

// Integers to floats, 16 values a thread, which one scale covers.
template <class T, int kBits>
__device__ __forceinline__ void to_floats(const DequantiseArguments& a) {
  constexpr int kValues = 16, kCount = Chunk<T>::kCount;
  const long long i = (static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x) * kValues;
  if (i >= a.values) return;
  const long long row = i / a.in;
  const int column = static_cast<int>(i % a.in);
  const float scale = scale_at(a.scale, a.scale_is_float, row * a.groups + column / (a.in / a.groups));
  float values[kValues];
  if (kBits == 8) {
    const signed char* q = static_cast<const signed char*>(a.q) + i;
#pragma unroll
    for (int e = 0; e < kValues; ++e) values[e] = q[e];
  } else {
    const unsigned char* q = static_cast<const unsigned char*>(a.q) + i / 2;
#pragma unroll
    for (int e = 0; e < kValues; ++e) values[e] = static_cast<float>((q[e / 2] >> (4 * (e % 2))) & 15) - 8.0f;
  }
#pragma unroll
  for (int c = 0; c < kValues; c += kCount) {
    float part[kCount];
#pragma unroll
    for (int e = 0; e < kCount; ++e) part[e] = values[c + e] * scale;
    store_chunk(static_cast<T*>(a.y) + i + c, part);
  }
}

template <class T>
__device__ void dequantise_bytes(const DequantiseArguments& a) {
  to_floats<T, 8>(a);
}
template <class T>
__device__ void dequantise_halves(const DequantiseArguments& a) {
  to_floats<T, 4>(a);
}

}  // namespace glmimage::kernels::cuda

GLM_IMAGE_KERNEL(vector_floats, VectorArguments, 128)
GLM_IMAGE_KERNEL(vector_bytes, VectorArguments, 128)
GLM_IMAGE_KERNEL(vector_halves, VectorArguments, 128)
GLM_IMAGE_KERNEL(dequantise_bytes, DequantiseArguments, 256)
GLM_IMAGE_KERNEL(dequantise_halves, DequantiseArguments, 256)
