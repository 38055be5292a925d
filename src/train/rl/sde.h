#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "pipeline/scheduler.h"
#include "train/config/rl_settings.h"

namespace glmimage::train::rl {

// Denoising steps drawn by chance, after Flow-GRPO (Liu et al. 2025, arXiv 2505.05470, eq. 9): the ordinary
// differential equation of flow matching becomes a stochastic one with the same marginals, so that a step has a
// probability.

// One step from noise level σ to `next` < σ. All in float32, σ in [0, 1], dt = next - σ < 0.
struct SdeStep {
  double sigma = 1, next = 0;
  double s = 0;  // a·√(σ / (1 - σ)), at σ = 1 with the schedule's second σ below the line

  double dt() const { return next - sigma; }
  double deviation() const;  // s·√(-dt): of what is added
};
SdeStep sde_step(const glmimage::Schedule& schedule, int64_t step, double noise);

// x·(1 + s²/(2σ)·dt) + v·(1 + s²·(1 - σ)/(2σ))·dt, like latents: where a step leads on average.
at::Tensor sde_mean(const SdeStep& step, const at::Tensor& latents, const at::Tensor& velocity);

// The mean over a picture's elements of the log-density of `reached` under a normal distribution around `mean`: (B).
// The mean and not the sum, so that clips mean the same whatever the size.
at::Tensor log_probability(const SdeStep& step, const at::Tensor& reached, const at::Tensor& mean);

// The steps of a roll-out that are drawn by chance: [first, last). MixGRPO (Li et al. 2025, arXiv 2507.21802) has a
// window slide from the first steps, which decide most, to the last; it begins again when it would leave.
struct StepWindow {
  int64_t first = 0, last = 0;
  bool contains(int64_t step) const { return step >= first && step < last; }
};
// `rollout`: its number. Window::random draws from `seed` alone.
StepWindow window_of(const FlowGrpoSettings& settings, int64_t steps, int64_t rollout, uint64_t seed);

}  // namespace glmimage::train::rl
