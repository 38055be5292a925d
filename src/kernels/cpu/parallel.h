#pragma once

#ifndef _OPENMP
#error "compile with OpenMP (src/CMakeLists.txt): without it at::parallel_for is one thread"
#endif

#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdint>

namespace glmimage::kernels::cpu {

// Values that are worth a thread of their own.
constexpr int64_t kGrain = 1 << 15;

// Calls work(first, last) for pieces of `rows` rows of `width` values on LibTorch's threads.
template <typename Work>
void parallel_rows(int64_t rows, int64_t width, const Work& work) {
  at::parallel_for(0, rows, std::max<int64_t>(1, kGrain / std::max<int64_t>(1, width)), work);
}

// How many pieces to cut rows into whose results are summed at the end: a function of the sizes and of the number of
// threads alone, so that equal runs add in equal order.
inline int64_t pieces_of(int64_t rows, int64_t width) {
  return std::clamp<int64_t>(rows * width / kGrain, 1, at::get_num_threads());
}

}  // namespace glmimage::kernels::cpu
