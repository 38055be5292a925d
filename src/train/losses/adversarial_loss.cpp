#include "train/losses/adversarial_loss.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/mean.h>
#include <ATen/ops/relu.h>

namespace glmimage::train {
namespace {

double share(const at::Tensor& which) { return which.to(at::kFloat).mean().item<double>(); }

}  // namespace

AdversarialLosses adversarial_losses(const Discriminator& discriminator, const at::Tensor& pixels,
                                     const at::Tensor& decoded) {
  // What was decoded is judged twice, since each side's gradient goes where the other's must not.
  const at::Tensor judged = discriminator.frozen()(decoded);  // (B, 1, h, w), as the next two
  const at::Tensor real = discriminator(pixels.detach());
  const at::Tensor fake = discriminator(decoded.detach());
  AdversarialLosses losses;
  losses.generator = -judged.mean();
  losses.discriminator = 0.5 * (at::relu(1 - real).mean() + at::relu(1 + fake).mean());
  losses.real_told = share(real > 0);
  losses.decoded_told = share(fake < 0);
  return losses;
}

}  // namespace glmimage::train
