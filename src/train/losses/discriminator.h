#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "core/parameters.h"
#include "models/layers/layers.h"

namespace glmimage::train {

struct DiscriminatorSizes {
  int64_t width = 32;  // channels after the first convolution; a multiple of 4
  int64_t depth = 3;   // convolutions that halve the sides
};

// Tells pictures from what a VAE made of them, patch by patch: PatchGAN (Isola et al. 2017), as VQGAN (Esser et al.
// 2021) and latent diffusion (Rombach et al. 2022) are trained with. 4x4 convolutions with leaky ReLU 0.2; channels
// double with each, up to eight times the width. A patch is 70 pixels wide at depth 3.
// Group norm (Wu and He 2018) where those have batch norm: it has no running state, so that parameters are all there is
// to save, and a picture's logits do not depend on the others of its batch, however batches are split into passes.
// Works under autograd, on any device; belongs to a run alone and is in no checkpoint.
struct Discriminator {
  explicit Discriminator(DiscriminatorSizes sizes);

  void list(ParameterList& list, const std::string& prefix = "discriminator");

  // pixels (B, 3, H, W) nominally in -1..1 -> logits (B, 1, H/2^depth - 2, W/2^depth - 2) float32, rounded down: above
  // 0 for "a picture". Throws as check_room() does.
  at::Tensor operator()(const at::Tensor& pixels) const;

  // The same weights, which get no gradient through it.
  Discriminator frozen() const;

  // Throws ErrorKind::usage for pictures so small that no patch is left.
  void check_room(int64_t height, int64_t width) const;

  DiscriminatorSizes sizes;
  std::vector<Conv2d> convolutions;  // depth of stride 2, one of stride 1, one to the logits
  std::vector<GroupNorm> norms;      // after all but the first and the last
};

}  // namespace glmimage::train
