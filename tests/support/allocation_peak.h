#pragma once

#include <c10/core/Allocator.h>

#include <cstdint>

namespace glmimage::test {

// Counts what tensors on the processor, and oneDNN's copies of them, hold while it lives, from when it was made. One at
// a time.
class AllocationPeak {
 public:
  AllocationPeak();
  ~AllocationPeak();
  AllocationPeak(const AllocationPeak&) = delete;

  int64_t bytes() const;  // the most at a time so far

 private:
  c10::Allocator* before_;
};

}  // namespace glmimage::test
