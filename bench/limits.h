#pragma once

#include <ATen/core/Tensor.h>

#include "bench/report.h"

namespace glmimage::bench {

// What this machine can do at most, for everything else to be held against: reading memory (the time to read a
// gibibyte that no cache holds, its size under "bytes") and multiplying two square matrices of `dtype` ("flop").
void bench_limits(Report& report, at::ScalarType dtype, bool quick, Repeats repeats);

}  // namespace glmimage::bench
