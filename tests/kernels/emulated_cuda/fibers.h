#pragma once

#include <functional>

namespace glmimage::test {

struct Dim3 {
  unsigned x = 0, y = 0, z = 0;
};

// Where the running fiber is in the grid.
extern Dim3 thread_place, block_place, block_size;

// Runs `thread` once for each thread of one block; they take turns where they meet.
void run_block(unsigned threads, const std::function<void()>& thread);

// Called by `thread`: waits for all threads of the block that have not ended.
void meet_block();
// Gives `value` to the lanes of the warp; what lane (own ^ distance) gave.
float exchange(float value, int distance);

}  // namespace glmimage::test
