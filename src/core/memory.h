#pragma once

#include <cstdint>

namespace glmimage {

// The most memory this process ever had resident, in bytes (getrusage).
int64_t peak_resident_bytes();

// The machine's memory, or the control group's limit where that is smaller, in bytes.
int64_t available_memory_bytes();

// Keeps what is freed for the next allocation instead of giving it back to the system: for work like training steps,
// which allocate and free the same large blocks again and again. Holds for the whole process.
void keep_freed_memory();

}  // namespace glmimage
