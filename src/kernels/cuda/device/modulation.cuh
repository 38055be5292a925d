// Layer norm with shift and scale, and the gated residual; one block a token.
namespace glmimage::kernels::cuda {

template <class T>
__device__ void modulated_norm(const ModulatedNormArguments& a) {
  const int all = a.first_count + a.second_count;
  const int batch = static_cast<int>(blockIdx.x) / all, place = static_cast<int>(blockIdx.x) % all;
  const bool in_first = place < a.first_count;
  const TokenRun run = in_first ? a.first : a.second;
  const int token = in_first ? place : place - a.first_count;
  Row<T> row;
  row.load(static_cast<const T*>(run.tokens) + batch * run.batch + token * run.token, a.width);
  const float mean = row.sum(a.width, [](float x) { return x; }) / a.width;
  const float variance = row.sum(a.width, [mean](float x) { return (x - mean) * (x - mean); }) / a.width;
  const float factor = rsqrtf(variance + a.eps);
  const T* shift = static_cast<const T*>(run.shift) + batch * run.factor_batch;
  const T* scale = static_cast<const T*>(run.scale) + batch * run.factor_batch;
  Row<T>::each(a.width, [&](int c, int i) {
    float by[Chunk<T>::kCount], times[Chunk<T>::kCount];
    load_chunk(shift + i, by);
    load_chunk(scale + i, times);
#pragma unroll
    for (int e = 0; e < Chunk<T>::kCount; ++e) {
      row.v[c][e] = by[e] + rounded<T>((row.v[c][e] - mean) * factor) * rounded<T>(1.0f + times[e]);
    }
  });
  row.store(static_cast<T*>(a.y) + static_cast<long long>(blockIdx.x) * a.width, a.width);
}

template <class T>
__device__ void gated_residual(const GatedResidualArguments& a) {
  const int batch = static_cast<int>(blockIdx.x) / a.count, token = static_cast<int>(blockIdx.x) % a.count;
  const T* x = static_cast<const T*>(a.run.tokens) + batch * a.run.batch + token * a.run.token;
  const T* gate = static_cast<const T*>(a.run.shift) + batch * a.run.factor_batch;
  const T* update = static_cast<const T*>(a.update) + batch * a.update_batch + token * a.update_token;
  T* y = static_cast<T*>(a.y) + static_cast<long long>(blockIdx.x) * a.width;
  Row<T>::each(a.width, [&](int, int i) {
    float by[Chunk<T>::kCount], g[Chunk<T>::kCount], u[Chunk<T>::kCount];
    load_chunk(x + i, by);
    load_chunk(gate + i, g);
    load_chunk(update + i, u);
#pragma unroll
    for (int e = 0; e < Chunk<T>::kCount; ++e) by[e] += g[e] * u[e];
    store_chunk(y + i, by);
  });
}

}  // namespace glmimage::kernels::cuda

GLM_IMAGE_KERNEL(modulated_norm, ModulatedNormArguments, glmimage::kernels::cuda::kRowThreads)
GLM_IMAGE_KERNEL(gated_residual, GatedResidualArguments, glmimage::kernels::cuda::kRowThreads)
