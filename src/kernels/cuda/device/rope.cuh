// Rotary embedding, with a layer norm of the head before it where one is asked for; one warp a head.
namespace glmimage::kernels::cuda {

template <class T>
__device__ void rope(const RopeArguments& a) {
  constexpr int kPairs = kHeadDim / 64, kRest = kHeadDim / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const long long index = static_cast<long long>(blockIdx.x) * (blockDim.x / 32) + threadIdx.x / 32;
  if (index >= a.rows) return;
  const int head = static_cast<int>(index % a.heads);
  const long long at = index / a.heads, token = at % a.tokens, batch = at / a.tokens;
  const T* x = static_cast<const T*>(a.x) + batch * a.x_batch + token * a.x_token + head * a.x_head;
  T* y = static_cast<T*>(a.y) + index * a.dim;
  const long long table = batch * a.table_batch + token * a.table_token;

  float first[kPairs], second[kPairs], rest[kRest];
  float sum = 0;
#pragma unroll
  for (int j = 0; j < kPairs; ++j) {
    const int p = lane + 32 * j;
    first[j] = p < a.half ? widen(x[p]) : 0;
    second[j] = p < a.half ? widen(x[p + a.half]) : 0;
    sum += first[j] + second[j];
  }
#pragma unroll
  for (int j = 0; j < kRest; ++j) {
    const int e = 2 * a.half + lane + 32 * j;
    rest[j] = e < a.dim ? widen(x[e]) : 0;
    sum += rest[j];
  }
  float mean = 0, factor = 1;
  if (a.eps >= 0) {
    mean = warp_sum(sum) / a.dim;
    float squares = 0;
    const auto add = [&](float value, bool counts) { squares += counts ? (value - mean) * (value - mean) : 0; };
#pragma unroll
    for (int j = 0; j < kPairs; ++j) add(first[j], lane + 32 * j < a.half), add(second[j], lane + 32 * j < a.half);
#pragma unroll
    for (int j = 0; j < kRest; ++j) add(rest[j], 2 * a.half + lane + 32 * j < a.dim);
    factor = rsqrtf(warp_sum(squares) / a.dim + a.eps);
  }
  const auto normed = [&](float value) { return a.eps >= 0 ? rounded<T>((value - mean) * factor) : value; };
  // Computed in the table's type, each step rounded to it.
  const auto turned = [&](float value) { return a.table_is_float ? value : rounded<T>(value); };
  const auto angle = [&](const void* values, int p) {
    return a.table_is_float ? static_cast<const float*>(values)[table + p]
                            : widen(static_cast<const T*>(values)[table + p]);
  };
#pragma unroll
  for (int j = 0; j < kPairs; ++j) {
    const int p = lane + 32 * j;
    if (p >= a.half) continue;
    const float c = angle(a.cos, p), s = angle(a.sin, p), f = normed(first[j]), g = normed(second[j]);
    y[p] = narrow<T>(turned(turned(f * c) - turned(g * s)));
    y[p + a.half] = narrow<T>(turned(turned(g * c) + turned(f * s)));
  }
#pragma unroll
  for (int j = 0; j < kRest; ++j) {
    const int e = 2 * a.half + lane + 32 * j;
    if (e < a.dim) y[e] = narrow<T>(normed(rest[j]));
  }
}

template <class T>
__device__ void swiglu(const SwigluArguments& a) {
  constexpr int kCount = Chunk<T>::kCount;
  const long long chunk = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x;
  const int per_row = a.width / kCount;
  if (chunk >= a.rows * per_row) return;
  const long long row = chunk / per_row;
  const int i = static_cast<int>(chunk % per_row) * kCount;
  const T* gate_up = static_cast<const T*>(a.gate_up) + row * 2 * a.width + i;
  float gate[kCount], up[kCount];
  load_chunk(gate_up, gate);
  load_chunk(gate_up + a.width, up);
#pragma unroll
  for (int e = 0; e < kCount; ++e) gate[e] = rounded<T>(gate[e] / (1.0f + expf(-gate[e]))) * up[e];
  store_chunk(static_cast<T*>(a.y) + row * a.width + i, gate);
}

}  // namespace glmimage::kernels::cuda

GLM_IMAGE_KERNEL(rope, RopeArguments, 256)
GLM_IMAGE_KERNEL(swiglu, SwigluArguments, 256)
