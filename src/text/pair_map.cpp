#include "text/pair_map.h"

#include <bit>
#include <utility>

namespace glmimage {

PairMap::PairMap(size_t expected) { grow(std::bit_ceil(expected * 3 / 2 + 8)); }

size_t PairMap::slot_of(uint64_t key) const {
  const size_t mask = slots_.size() - 1;
  size_t i = (key * 0x9e3779b97f4a7c15u) >> 32 & mask;  // Fibonacci hashing (Knuth, volume 3, 6.4)
  while (slots_[i].key != kEmpty && slots_[i].key != key) i = (i + 1) & mask;
  return i;
}

void PairMap::grow(size_t slots) {
  std::vector<Slot> old = std::exchange(slots_, std::vector<Slot>(slots));
  for (const Slot& slot : old) {
    if (slot.key != kEmpty) slots_[slot_of(slot.key)] = slot;
  }
}

void PairMap::set(uint32_t left, uint32_t right, Value value) {
  if ((used_ + 1) * 3 > slots_.size() * 2) grow(slots_.size() * 2);
  const uint64_t key = uint64_t{left} << 32 | right;
  Slot& slot = slots_[slot_of(key)];
  if (slot.key == kEmpty) ++used_;
  slot = {key, value};
}

const PairMap::Value* PairMap::find(uint32_t left, uint32_t right) const {
  const Slot& slot = slots_[slot_of(uint64_t{left} << 32 | right)];
  return slot.key == kEmpty ? nullptr : &slot.value;
}

}  // namespace glmimage
