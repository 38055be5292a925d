#pragma once

#include <ATen/core/Tensor.h>

namespace glmimage::kernels {

// Two runs of tokens that lie one behind the other in `joint` tensors and have factors of their own; the first may have
// no tokens. Tokens (B, T, D); shift, scale and gate (B or 1, 1, D); all of one float type and device.

struct Modulated {
  at::Tensor tokens, shift, scale;
};

// LN(x)·(1 + scale) + shift of every token, LN without weights over the last dimension -> (B, T1 + T2, D). AdaLN-Zero,
// Peebles and Xie 2023.
at::Tensor modulated_norm(const Modulated& first, const Modulated& second, double eps);
// The same of one run.
at::Tensor modulated_norm(const Modulated& run, double eps);

struct Gated {
  at::Tensor tokens, gate;
};

struct TokenPair {
  at::Tensor first, second;
};

// tokens + gate · update, where `update` (B, T1 + T2, D) holds both runs -> (B, T1, D), (B, T2, D).
TokenPair gated_residual(const Gated& first, const Gated& second, const at::Tensor& update);
// The same of one run.
at::Tensor gated_residual(const Gated& run, const at::Tensor& update);

}  // namespace glmimage::kernels
