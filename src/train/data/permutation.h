#pragma once

#include <bit>
#include <cstdint>

#include "train/random.h"

namespace glmimage::train {

// A shuffle of 0 … count-1 that is computed place by place: no list, no state, so any place of any epoch is as cheap as
// the next, and threads share it. A Feistel network on the next even number of bits, walked until it lands below
// `count` (Black and Rogaway 2002, "Ciphers with arbitrary finite domains").
class Permutation {
 public:
  Permutation(int64_t count, uint64_t key)
      : count_(static_cast<uint64_t>(count)),
        key_(key),
        half_bits_(count > 1 ? (std::bit_width(static_cast<uint64_t>(count) - 1) + 1) / 2 : 0) {}

  // 0 <= place < count.
  int64_t operator()(int64_t place) const {
    if (half_bits_ == 0) return place;
    uint64_t value = static_cast<uint64_t>(place);
    do value = once(value);
    while (value >= count_);  // at most 4 times on average: the network's domain is below 4 x count
    return static_cast<int64_t>(value);
  }

 private:
  uint64_t once(uint64_t value) const {
    const uint64_t mask = (uint64_t{1} << half_bits_) - 1;
    uint64_t left = value >> half_bits_, right = value & mask;
    for (uint64_t round = 0; round < 8; ++round) {
      const uint64_t mixed = left ^ (derive_seed(key_, Stream::order, round << 32 | right) & mask);
      left = right;
      right = mixed;
    }
    return left << half_bits_ | right;
  }

  uint64_t count_, key_;
  int half_bits_;
};

}  // namespace glmimage::train
