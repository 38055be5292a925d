#include "train/rl/nft_loss.h"

#include <ATen/TensorOperators.h>

namespace glmimage::train::rl {
namespace {

constexpr double kLeastError = 1e-5;

// (R, …) -> (R)
at::Tensor error_of(const at::Tensor& mixture, const NftInput& input, NftWeighting weighting) {
  const at::Tensor d = (mixture - input.target).flatten(1);  // (R, n)
  const at::Tensor square = d.square().mean(1);              // (R)
  switch (weighting) {
    case NftWeighting::none: return square;
    case NftWeighting::adaptive: break;
  }
  // The picture implied by a velocity is off by σ·d.
  const at::Tensor off = (input.sigmas * d.detach().abs().mean(1)).clamp_min(kLeastError);
  return square * input.sigmas.square() / off;
}

}  // namespace

at::Tensor optimality_of(const at::Tensor& advantages, double limit) {
  return advantages.clamp(-limit, limit) / (2 * limit) + 0.5;
}

at::Tensor nft_loss(const NftInput& input, double strength, NftWeighting weighting) {
  const at::Tensor towards = (1 - strength) * input.old + strength * input.velocity;
  const at::Tensor away = (1 + strength) * input.old - strength * input.velocity;
  const at::Tensor& r = input.optimality;
  return ((r * error_of(towards, input, weighting) + (1 - r) * error_of(away, input, weighting)) / strength).mean();
}

}  // namespace glmimage::train::rl
