#pragma once

#include <bit>
#include <cstdint>

// Values of float32 and of bfloat16, which are its upper 16 bits, for loops that are written once for both.
namespace glmimage::kernels::cpu {

[[gnu::always_inline]] inline float widened(float x) { return x; }
[[gnu::always_inline]] inline float widened(uint16_t bfloat16) {
  return std::bit_cast<float>(static_cast<uint32_t>(bfloat16) << 16);
}

[[gnu::always_inline]] inline void store(float x, float* to) { *to = x; }
[[gnu::always_inline]] inline void store(float x, uint16_t* to) {  // the nearest, ties to even; a NaN stays one
  const auto bits = std::bit_cast<uint32_t>(x);
  *to = x == x ? static_cast<uint16_t>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16) : uint16_t{0x7FC0};
}

}  // namespace glmimage::kernels::cpu
