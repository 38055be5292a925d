#pragma once

#include <ATen/core/Tensor.h>

#include "train/losses/discriminator.h"

namespace glmimage::train {

// Both sides of the game, to be added into one loss and propagated back together.
struct AdversarialLosses {
  at::Tensor generator;      // (): minus the mean logit of what was decoded. Its gradient reaches `decoded` alone
  at::Tensor discriminator;  // (): hinge. Its gradient reaches the discriminator's parameters alone
  double real_told = 0;      // share of the patches of pictures with logits above 0
  double decoded_told = 0;   // share of the patches of what was decoded with logits below 0
};

// Hinge losses (Lim and Ye 2017) with the halves of VQGAN: -D(decoded) against ½ (relu(1 - D(pixels)) + relu(1 +
// D(decoded))), means over all patches. pixels, decoded (B, 3, H, W) nominally in -1..1.
AdversarialLosses adversarial_losses(const Discriminator& discriminator, const at::Tensor& pixels,
                                     const at::Tensor& decoded);

}  // namespace glmimage::train
