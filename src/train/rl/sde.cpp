#include "train/rl/sde.h"

#include <ATen/TensorOperators.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/error.h"
#include "train/random.h"

namespace glmimage::train::rl {

double SdeStep::deviation() const { return s * std::sqrt(-dt()); }

SdeStep sde_step(const glmimage::Schedule& schedule, int64_t step, double noise) {
  if (step < 0 || step >= schedule.steps()) {
    fail(ErrorKind::internal, "step ", step, " of a schedule of ", schedule.steps());
  }
  const auto sigmas = schedule.sigmas.accessor<float, 1>();
  SdeStep out{.sigma = sigmas[step], .next = sigmas[step + 1], .s = 0};
  // A schedule of one step has no second level above 0.
  const double below = out.sigma < 1 ? out.sigma : std::max<double>(sigmas[1], 0.5);
  out.s = noise * std::sqrt(out.sigma / (1 - below));
  return out;
}

at::Tensor sde_mean(const SdeStep& step, const at::Tensor& latents, const at::Tensor& velocity) {
  const double square = step.s * step.s, dt = step.dt();
  return latents * (1 + square / (2 * step.sigma) * dt) +
         velocity * ((1 + square * (1 - step.sigma) / (2 * step.sigma)) * dt);
}

at::Tensor log_probability(const SdeStep& step, const at::Tensor& reached, const at::Tensor& mean) {
  const double deviation = step.deviation();
  const double constant = std::log(deviation) + 0.5 * std::log(2 * std::numbers::pi);
  return -(reached.detach() - mean).square().flatten(1).mean(1) / (2 * deviation * deviation) - constant;
}

StepWindow window_of(const FlowGrpoSettings& settings, int64_t steps, int64_t rollout, uint64_t seed) {
  const int64_t size = std::min(settings.window_steps, steps), places = steps - size + 1;
  int64_t first = 0;
  switch (settings.window) {
    case SdeWindow::all: return {0, steps};
    case SdeWindow::fixed: break;
    case SdeWindow::sliding: first = rollout / settings.window_every * settings.window_stride % places; break;
    case SdeWindow::random:
      first = static_cast<int64_t>(derive_seed(seed, Stream::rollout, ~static_cast<uint64_t>(rollout)) %
                                   static_cast<uint64_t>(places));
      break;
  }
  return {first, first + size};
}

}  // namespace glmimage::train::rl
