#pragma once

#include <string>

#include "pipeline/memory_limit.h"

namespace glmimage::cli {

// "auto", "low", or a number of bytes with its unit: "6GiB", "500 MiB", "1.5g" (KiB, MiB, GiB, TiB; KB, MB, GB, TB are
// powers of 1000; case does not matter). Throws ErrorKind::usage for anything else.
MemoryLimit parse_memory(const std::string& text);

}  // namespace glmimage::cli
