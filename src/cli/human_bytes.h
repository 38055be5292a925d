#pragma once

#include <cstdint>
#include <string>

namespace glmimage::cli {

// "812 B", "1.5 GiB".
std::string human_bytes(int64_t bytes);

}  // namespace glmimage::cli
