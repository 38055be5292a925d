#include "train/losses/vae_loss.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/mean.h>
#include <ATen/ops/mse_loss.h>
#include <ATen/ops/randn.h>

#include <cmath>

namespace glmimage::train {
namespace {

// L1 of the differences between neighbouring pixels: keeps edges sharp where plain L1 and L2 blur them.
at::Tensor gradient_loss(const at::Tensor& a, const at::Tensor& b) {
  auto dx = [](const at::Tensor& t) { return t.slice(3, 1) - t.slice(3, 0, -1); };
  auto dy = [](const at::Tensor& t) { return t.slice(2, 1) - t.slice(2, 0, -1); };
  return (dx(a) - dx(b)).abs().mean() + (dy(a) - dy(b)).abs().mean();
}

}  // namespace

VaeLosses vae_losses(const Vae& vae, const at::Tensor& pixels, at::Generator noise, const VaeSettings& weights) {
  const Moments moments = vae.encode(pixels);  // (B, C, h, w) each
  const at::Tensor epsilon = at::randn(moments.mean.sizes(), noise, at::kFloat).to(pixels.device());
  const at::Tensor latents = moments.mean + at::exp(0.5 * moments.logvar) * epsilon;
  const at::Tensor decoded = vae.decode(latents);  // (B, 3, H, W)
  const at::Tensor l1 = (decoded - pixels).abs().mean(), l2 = at::mse_loss(decoded, pixels);
  const at::Tensor kl = 0.5 * (moments.mean * moments.mean + at::exp(moments.logvar) - 1.0 - moments.logvar).mean();
  VaeLosses losses;
  losses.total =
      weights.l1 * l1 + weights.l2 * l2 + weights.gradient * gradient_loss(decoded, pixels) + weights.kl * kl;
  losses.l1 = l1;
  losses.kl = kl;
  losses.psnr = -10 * std::log10(l2.item<double>() / 4);
  losses.decoded = decoded;
  return losses;
}

}  // namespace glmimage::train
