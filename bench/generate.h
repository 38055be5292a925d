#pragma once

#include <ATen/core/ScalarType.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "bench/report.h"

namespace glmimage::bench {

struct GenerateWork {
  std::filesystem::path model;
  std::string prompt;
  std::optional<int64_t> size;  // pixels a side; unset: the model's own
  int64_t steps = 50;
};

// Whole pictures on a checkpoint, and their stages as a request's progress reports show them. Skipped with a note where
// there is no such checkpoint.
void bench_generate(Report& report, const GenerateWork& work, at::ScalarType dtype, Repeats repeats);

}  // namespace glmimage::bench
