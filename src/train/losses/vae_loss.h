#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include "models/vae/vae.h"
#include "train/config/train_config.h"

namespace glmimage::train {

struct VaeLosses {
  at::Tensor total, l1, kl;  // scalars; total carries the gradient
  double psnr = 0;           // dB, pixels in 0..1
  at::Tensor decoded;        // (B, 3, H, W), for losses of the caller's
};

// L1 + L2 + L1 of the differences of neighbouring pixels + KL(q(z|x) ‖ N(0, 1)) per latent (Kingma and Welling 2014),
// by their weights. pixels (B, 3, H, W) float32 in -1..1, sides multiples of the VAE's scale; `noise` draws one sample
// of z.
VaeLosses vae_losses(const Vae& vae, const at::Tensor& pixels, at::Generator noise, const VaeSettings& weights = {});

}  // namespace glmimage::train
