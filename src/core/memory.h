#pragma once

#include <cstddef>
#include <cstdint>

namespace glmimage {

// The most memory this process ever had resident, in bytes (getrusage).
int64_t peak_resident_bytes();

// The machine's memory, or the control group's limit where that is smaller, in bytes.
int64_t available_memory_bytes();

// What the process can still take, in bytes: what the system calls available, or what is left of the control group's
// limit where that is less. Files in memory that can be read again do not count as taken.
int64_t free_memory_bytes();

// Asks the system to read these bytes of a mapped file ahead, without waiting for them.
void read_ahead(const void* data, size_t bytes);

// Keeps what is freed for the next allocation instead of giving it back to the system: for work like training steps,
// which allocate and free the same large blocks again and again. Holds for the whole process.
void keep_freed_memory();

// The opposite: large blocks go back to the system when they are freed, so that memory follows what is in use. Holds
// for the whole process.
void return_freed_memory();

}  // namespace glmimage
