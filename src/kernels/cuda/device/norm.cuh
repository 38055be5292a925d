// Root mean square norms; one block a row. Roundings are those of the composition: the normed value is rounded, then
// its product with the weight.
namespace glmimage::kernels::cuda {

template <class T>
__device__ __forceinline__ void scale_row(Row<T>& row, const T* weight, int width, float eps) {
  const float mean = row.sum(width, [](float x) { return x * x; }) / width;
  const float factor = rsqrtf(mean + eps);
  Row<T>::each(width, [&](int c, int i) {
    float w[Chunk<T>::kCount];
    load_chunk(weight + i, w);
#pragma unroll
    for (int e = 0; e < Chunk<T>::kCount; ++e) row.v[c][e] = rounded<T>(rounded<T>(row.v[c][e] * factor) * w[e]);
  });
}

template <class T>
__device__ void rms_norm(const RmsNormArguments& a) {
  const long long begin = static_cast<long long>(blockIdx.x) * a.width;
  Row<T> row;
  row.load(static_cast<const T*>(a.x) + begin, a.width);
  scale_row(row, static_cast<const T*>(a.weight), a.width, a.eps);
  row.store(static_cast<T*>(a.y) + begin, a.width);
}

// sum = x + norm(update), normed = norm(sum).
template <class T>
__device__ void add_normed(const AddNormedArguments& a) {
  const long long begin = static_cast<long long>(blockIdx.x) * a.width;
  Row<T> row, x;
  row.load(static_cast<const T*>(a.update) + begin, a.width);
  x.load(static_cast<const T*>(a.x) + begin, a.width);
  scale_row(row, static_cast<const T*>(a.weight), a.width, a.eps);
  Row<T>::each(a.width, [&](int c, int) {
#pragma unroll
    for (int e = 0; e < Chunk<T>::kCount; ++e) row.v[c][e] = rounded<T>(x.v[c][e] + row.v[c][e]);
  });
  row.store(static_cast<T*>(a.sum) + begin, a.width);
  if (!a.next_weight) return;
  scale_row(row, static_cast<const T*>(a.next_weight), a.width, a.eps);
  row.store(static_cast<T*>(a.normed) + begin, a.width);
}

}  // namespace glmimage::kernels::cuda

GLM_IMAGE_KERNEL(rms_norm, RmsNormArguments, glmimage::kernels::cuda::kRowThreads)
GLM_IMAGE_KERNEL(add_normed, AddNormedArguments, glmimage::kernels::cuda::kRowThreads)
