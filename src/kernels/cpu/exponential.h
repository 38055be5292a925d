#pragma once

#include <bit>
#include <cstdint>

namespace glmimage::kernels::cpu {

// e^x of |x| <= 87 to about two units in the last place, and e^±87 beyond, which is as good in 1 / (1 + e^x): in
// operations that compilers turn into vector instructions; std::exp is a call for each value. x = n·ln 2 + r with |r|
// <= ln 2 / 2, e^r by the polynomial of Cephes' expf (Moshier 1992).
inline float exponential_for_sigmoid(float x) {
  x = x < -87.0F ? -87.0F : x > 87.0F ? 87.0F : x;
  const float shifted = x * 1.44269504F + 12582912.0F;  // 1.5·2^23: rounds to the nearest whole number
  const float n = shifted - 12582912.0F;
  const float r = (x - n * 0.693359375F) + n * 2.12194440e-4F;  // ln 2 in two pieces
  float p = 1.9875691500e-4F;
  p = p * r + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  p = p * r * r + r + 1.0F;
  return p * std::bit_cast<float>((static_cast<int32_t>(n) + 127) << 23);
}

}  // namespace glmimage::kernels::cpu
