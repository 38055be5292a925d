#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace glmimage {

// A hash map from a pair of ids to two numbers, with open addressing: a large vocabulary has 300,000 merges, and both
// building and asking std::unordered_map for them takes several times as long.
class PairMap {
 public:
  struct Value {
    int32_t first = 0, second = 0;
  };

  explicit PairMap(size_t expected = 0);
  // Adds or replaces.
  void set(uint32_t left, uint32_t right, Value value);
  const Value* find(uint32_t left, uint32_t right) const;

 private:
  struct Slot {
    uint64_t key = kEmpty;
    Value value;
  };
  static constexpr uint64_t kEmpty = ~uint64_t{0};  // the pair (2^32 - 1, 2^32 - 1) is never stored
  size_t slot_of(uint64_t key) const;
  void grow(size_t slots);

  std::vector<Slot> slots_;  // a power of two, at most two thirds full
  size_t used_ = 0;
};

}  // namespace glmimage
