#pragma once

#include <cstdint>
#include <random>
#include <string>

#include "train/world/world.h"

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

 private:
  std::mt19937_64& random_;
};

// Four captions of five are canonical; the others say the same in other words.
std::string sample_caption(const Scene& scene, Dice& dice);

}  // namespace glmimage::train::world
