#pragma once

#include <cstdint>

namespace glmimage {

// The most memory this process ever had resident, in bytes (getrusage).
int64_t peak_resident_bytes();

// The machine's memory, or the control group's limit where that is smaller, in bytes.
int64_t available_memory_bytes();

}  // namespace glmimage
