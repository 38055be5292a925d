// One new token over the keys of a cache. A block takes kKeys keys of one key/value head and the query heads that share
// it, so a cache is read once, by all of the device at a time; a second kernel joins the pieces (Dao et al. 2023,
// Flash-Decoding).
namespace glmimage::kernels::cuda {

template <class T>
__device__ void decode_attention(const DecodeAttentionArguments& a) {
  __shared__ float q[kGroup][kCachedDim], k[kKeys][kCachedDim + 1], v[kKeys][kCachedDim], p[kGroup][kKeys];
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, warp = thread / 32;
  const int piece = static_cast<int>(blockIdx.x), kv_heads = a.heads / a.group;
  const int batch = static_cast<int>(blockIdx.y) / kv_heads, kv_head = static_cast<int>(blockIdx.y) % kv_heads;
  const int begin = piece * kKeys, count = a.keys - begin < kKeys ? a.keys - begin : kKeys;
  const int first_head = kv_head * a.group;

  const T* queries = static_cast<const T*>(a.q) + batch * a.q_batch + first_head * a.q_head;
  T* keys = static_cast<T*>(a.k) + batch * a.k_batch + kv_head * a.k_head + begin * a.k_token;
  T* values = static_cast<T*>(a.v) + batch * a.v_batch + kv_head * a.v_head + begin * a.v_token;
  const long long next = batch * a.next_batch + kv_head * a.next_head;
  constexpr int kCount = Chunk<T>::kCount;
  const int chunks = a.dim / kCount;
  const auto bring = [&](const T* from, float* to) {
    float part[kCount];
    load_chunk(from, part);
#pragma unroll
    for (int e = 0; e < kCount; ++e) to[e] = part[e];
  };
  for (int i = thread; i < a.group * chunks; i += blockDim.x) {
    bring(queries + (i / chunks) * a.q_head + (i % chunks) * kCount, &q[i / chunks][(i % chunks) * kCount]);
  }
  for (int i = thread; i < count * chunks; i += blockDim.x) {
    const int j = i / chunks, d = (i % chunks) * kCount;
    if (a.next_k && begin + j == a.keys - 1) {
      copy_chunk(static_cast<const T*>(a.next_k) + next + d, keys + j * a.k_token + d);
      copy_chunk(static_cast<const T*>(a.next_v) + next + d, values + j * a.v_token + d);
    }
    bring(keys + j * a.k_token + d, &k[j][d]);  // a thread reads back what it wrote
    bring(values + j * a.v_token + d, &v[j][d]);
  }
  __syncthreads();

  // A warp for a head, a lane for a key.
  for (int h = warp; h < a.group; h += blockDim.x / 32) {
    float score = minus_infinity();
    if (lane < count) {
      float sum = 0;
      for (int d = 0; d < a.dim; ++d) sum += q[h][d] * k[lane][d];
      score = sum * a.scale;
    }
    const float largest = warp_max(score);
    const float weight = lane < count ? expf(score - largest) : 0;
    const float total = warp_sum(weight);
    p[h][lane] = weight;
    if (lane == 0) {
      const long long at = (static_cast<long long>(batch * a.heads + first_head + h) * a.pieces + piece) * 2;
      a.weights[at] = largest;
      a.weights[at + 1] = total;
    }
  }
  __syncthreads();

  const int lanes = static_cast<int>(blockDim.x) / kCachedDim;  // heads side by side
  const int d = thread % kCachedDim;
  if (d >= a.dim) return;
  for (int h = thread / kCachedDim; h < a.group; h += lanes) {
    float sum = 0;
    for (int j = 0; j < count; ++j) sum += p[h][j] * v[j][d];
    a.values[(static_cast<long long>(batch * a.heads + first_head + h) * a.pieces + piece) * a.dim + d] = sum;
  }
}

template <class T>
__device__ void join_attention(const DecodeAttentionArguments& a) {
  const long long head = blockIdx.x;  // of B · Hq
  const float* weights = a.weights + head * a.pieces * 2;
  const float* values = a.values + head * a.pieces * a.dim;
  const int d = static_cast<int>(threadIdx.x);
  if (d >= a.dim) return;
  float largest = minus_infinity();
  for (int i = 0; i < a.pieces; ++i) largest = fmaxf(largest, weights[2 * i]);
  float sum = 0, total = 0;
  for (int i = 0; i < a.pieces; ++i) {
    const float factor = expf(weights[2 * i] - largest);
    total += factor * weights[2 * i + 1];
    sum += factor * values[static_cast<long long>(i) * a.dim + d];
  }
  static_cast<T*>(a.y)[head * a.dim + d] = narrow<T>(sum / total);
}

}  // namespace glmimage::kernels::cuda

GLM_IMAGE_KERNEL(decode_attention, DecodeAttentionArguments, 256)
GLM_IMAGE_KERNEL(join_attention, DecodeAttentionArguments, 128)
