#pragma once

#include <array>
#include <cstdint>

#include "kernels/cpu/bfloat16.h"

// Four rows of integers times one token with the processor's own products of bytes (AVX-512 VNNI): four products and
// their sum an instruction, where floats take several to unpack one value.
namespace glmimage::kernels::cpu {

constexpr int64_t kRows = 4;

// The scales of one row, in either type.
struct Scales {
  const uint16_t* narrow = nullptr;  // bfloat16
  const float* wide = nullptr;
  [[gnu::always_inline]] float at(int64_t i) const { return narrow ? widened(narrow[i]) : wide[i]; }
};

constexpr int64_t kIntegerBlock = 64;  // values; a group is a multiple of it
constexpr int64_t kTokenBlock = 128;   // bytes; a token's are filled up with zeros to a multiple of it
constexpr int64_t kMostGroups = 1024;  // of a row

// Whether this processor has them.
bool multiplies_bytes();

// One token, rounded to 16 bits of its group's largest value: x[i] = scale[g] · (256 · high[i] + low[i]), both bytes
// signed. The error of a product is below 2^-16 of that value times the row, beneath what integers of the weights cost.
struct SplitToken {
  const int8_t *high, *low;  // (in, and zeros), in the order of the weights' bytes (split_token)
  const float* scale;        // (groups)
  const float* offset;       // (groups): of scale · sum of the integers, as much as the weights are shifted by
};

// The weights' bytes are signed (8 bits), or two values each, shifted by 8 (4 bits).
enum class Integers { int8, int4 };

// Fills a SplitToken's arrays from x (in).
void split_token(Integers kind, const float* x, int64_t in, int64_t groups, int8_t* high, int8_t* low, float* scale,
                 float* offset);

// y[r] = sum over i of w[r][i] · scale[r][g] · x[i], for four rows that lie in one matrix. Only where
// multiplies_bytes().
struct IntegerRows {
  std::array<const uint8_t*, kRows> w;
  std::array<Scales, kRows> scale;
  int64_t groups, group;
};
void multiply_bytes(Integers kind, const IntegerRows& rows, const SplitToken& x, float* y);

}  // namespace glmimage::kernels::cpu
