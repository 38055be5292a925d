#pragma once

#include <ATen/core/Tensor.h>

#include "bench/report.h"

namespace glmimage::bench {

// The machine's own measure: a product of two square matrices of `dtype`, "gemm.<side>", its work under "flops". kChar:
// of bytes, added in 32-bit integers.
void bench_gemm(Report& report, int64_t side, at::ScalarType dtype, Repeats repeats);

// What this machine can do at most, for everything else to be held against: that product, and reading memory,
// "limits.read": the time to read a gibibyte that no cache holds, its size under "bytes".
void bench_limits(Report& report, at::ScalarType dtype, bool quick, Repeats repeats);

}  // namespace glmimage::bench
