#pragma once

#include <filesystem>

namespace glmimage {

// How many threads LibTorch computes with on the CPU. 0: default_threads(), or OMP_NUM_THREADS where that is set.
// Throws ErrorKind::usage for a negative or an absurd number.
void set_threads(int threads);

// How many it computes with now.
int thread_count();

// One thread per physical core this process may run on (its affinity mask), no more than its control group's CPU quota
// allows: hyper-threads share the units the arithmetic needs, and threads beyond a quota are put to sleep in turns.
// Reads /proc and /sys below `root` (for tests). At least 1.
int default_threads(const std::filesystem::path& root = "/");

}  // namespace glmimage
