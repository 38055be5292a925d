#pragma once

#include <cmath>

#include "models/layers/layers.h"

namespace glmimage {

// The spread that keeps signal and gradient alike in size through a linear layer (Glorot and Bengio 2010).
inline double balanced_std(const Linear& linear) {
  return std::sqrt(2.0 / static_cast<double>(linear.in + linear.out));
}

// Modulations and the output layer begin at zero: every block is the identity and the model's first guess is zero
// (Peebles and Xie 2023, adaLN-Zero).
constexpr double kZeroStd = 0.0;

}  // namespace glmimage
