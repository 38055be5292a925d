#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <string>

namespace glmimage {

// The value of a --dtype option: "float32", "bfloat16", "float16", or nothing for "auto" (keep the stored type).
// Throws ErrorKind::usage for any other text.
std::optional<at::ScalarType> parse_dtype(const std::string& text);

// "float32", "bfloat16", …: the names PyTorch uses in Python and in configuration files.
std::string dtype_name(at::ScalarType dtype);

}  // namespace glmimage
