#pragma once

#include <cstdint>
#include <iterator>
#include <random>

namespace glmimage::train::world {

// Rolls dice from raw 64-bit draws: the standard distributions differ from library to library.
class Dice {
 public:
  explicit Dice(std::mt19937_64& random) : random_(random) {}
  // 0 <= result < count.
  int64_t below(int64_t count) {
    constexpr double kUnit = 1.0 / 9007199254740992.0;  // 2^-53
    return static_cast<int64_t>(static_cast<double>(random_() >> 11) * kUnit * static_cast<double>(count));
  }
  // From low to high, both included.
  int64_t between(int64_t low, int64_t high) { return low + below(high - low + 1); }
  bool percent(int64_t chance) { return below(100) < chance; }
  template <typename Table>
  const auto& one_of(const Table& table) {
    return table[static_cast<size_t>(below(static_cast<int64_t>(std::size(table))))];
  }

 private:
  std::mt19937_64& random_;
};

}  // namespace glmimage::train::world
