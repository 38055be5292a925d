#pragma once

#include <ATen/core/Tensor.h>

#include "train/config/rl_settings.h"

namespace glmimage::train::rl {

// What is known of R noisy pictures x = (1 - σ)·x0 + σ·ε.
struct NftInput {
  at::Tensor velocity;    // (R, …) float32, of the model that learns, with its gradient
  at::Tensor old;         // (R, …) of the sampling policy
  at::Tensor target;      // (R, …) ε - x0
  at::Tensor sigmas;      // (R) float32
  at::Tensor optimality;  // (R) in 0..1: how probably the picture is one of the good ones
};

// r of DiffusionNFT: A / (2·limit) + 1/2, for advantages clamped to ± limit.
at::Tensor optimality_of(const at::Tensor& advantages, double limit);

// DiffusionNFT (Zheng et al. 2025, arXiv 2509.16117, eq. 5), with v the target, v_o the sampling policy, β the
// strength:
//   v+ = (1 - β)·v_o + β·v_θ     v- = (1 + β)·v_o - β·v_θ
//   L = (r·|v+ - v|² + (1 - r)·|v- - v|²) / β, the mean over rows; |·|² the mean over a row's elements
// No probabilities and no roll-out's path: the picture and its reward are enough. NftWeighting::adaptive divides each
// |·|² by the mean absolute error of the x0 it implies, as the authors' program does: σ·|d|² / mean|d|, without
// gradient through the divisor. At v_θ = v_o and r = 1/2 the gradient vanishes. -> scalar
at::Tensor nft_loss(const NftInput& input, double strength, NftWeighting weighting);

}  // namespace glmimage::train::rl
