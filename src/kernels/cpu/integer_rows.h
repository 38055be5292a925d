#pragma once

#include <cstdint>

// Four rows of integers times one token with the processor's own products of bytes (AVX-512 VNNI): four products and
// their sum an instruction, where floats take several to unpack one value.
namespace glmimage::kernels::cpu {

constexpr int64_t kIntegerBlock = 64;  // values; a group is a multiple of it

// Whether this processor has them.
bool multiplies_bytes();

// One token, rounded to 16 bits of its group's largest value: x[i] = scale[g] · (256 · high[i] + low[i]), both bytes
// signed. The error of a product is below 2^-16 of that value times the row, beneath what integers of the weights cost.
struct SplitToken {
  const int8_t *high, *low;  // (in), in the order of the weights' bytes (split_token)
  const float* scale;        // (groups)
  const float* offset;       // (groups): of scale · sum of the integers, as much as the weights are shifted by
};

// The weights' bytes are signed (8 bits), or two values each, shifted by 8 (4 bits).
enum class Integers { int8, int4 };

// Fills a SplitToken's arrays from x (in).
void split_token(Integers kind, const float* x, int64_t in, int64_t groups, int8_t* high, int8_t* low, float* scale,
                 float* offset);

// y[r] = sum over i of w[r][i] · weight_scale[r][g] · x[i], for four rows. Only where multiplies_bytes(). The scales
// are bfloat16 where `narrow`, else float32. `ahead` bytes further lies what will be read next.
struct IntegerRows {
  const uint8_t* w[4];
  const void* scale[4];
  bool narrow;
  int64_t groups, group, ahead;
};
void multiply_bytes(Integers kind, const IntegerRows& rows, const SplitToken& x, float* y);

}  // namespace glmimage::kernels::cpu
