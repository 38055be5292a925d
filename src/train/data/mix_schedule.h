#pragma once

#include <cstdint>
#include <mutex>
#include <vector>

namespace glmimage::train {

// Which of several weighted sources gives the batch of a step, and which of its own batches that is. The draw is a pure
// function of (seed, step); counting the draws before a step costs nanoseconds each, and is remembered.
class MixSchedule {
 public:
  // Weights are relative. Throws ErrorKind::internal when there is none or one is not above 0.
  MixSchedule(const std::vector<double>& weights, uint64_t seed);

  struct Turn {
    int64_t source = 0;
    int64_t index = 0;  // this source's batch, counted from 0
  };
  // May be called from many threads and in any order.
  Turn at(int64_t step) const;

 private:
  int64_t draw(int64_t step) const;
  // How often each source was drawn in steps 0 … block * kBlock - 1.
  std::vector<int64_t> counts_before(size_t block) const;

  static constexpr int64_t kBlock = 1024;
  std::vector<double> limits_;  // cumulative shares; the last is 1
  uint64_t seed_;
  mutable std::mutex mutex_;
  mutable std::vector<std::vector<int64_t>> counts_;  // by block
};

}  // namespace glmimage::train
