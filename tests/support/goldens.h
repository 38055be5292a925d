#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <string>

#include "core/safetensors.h"

namespace glmimage::test {

// tests/golden/<relative> in the source tree.
std::filesystem::path golden(const std::string& relative);

// A fresh empty folder below the build folder, named after the running test.
std::filesystem::path scratch_folder();

// max|a - b| / max|b| over all elements (in double); infinity when shapes differ or either holds NaN.
double relative_error(const at::Tensor& a, const at::Tensor& b);

// Peak signal-to-noise ratio in dB of two pictures with values 0..1.
double psnr(const at::Tensor& a, const at::Tensor& b);

}  // namespace glmimage::test
