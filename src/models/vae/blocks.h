#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <string>
#include <vector>

#include "core/parameters.h"
#include "models/layers/layers.h"
#include "models/vae/strips.h"

namespace glmimage {

// The pieces of the VAE's encoder and decoder, (B, C, H, W) of the weights' type, in the memory format they are given,
// on any device. `replace(x)` makes of x what the piece makes of it. Where autograd follows, by the plain operators;
// else strip by strip (strips.h) and in the memory of x itself, which nobody else may hold. Reference: diffusers
// 0.39.0, models/resnet.py, downsampling.py, upsampling.py, unets/unet_2d_blocks.py.

constexpr double kVaeNormEps = 1e-6;

// conv(silu(norm(x))), the end of both halves of the VAE.
at::Tensor finish(const GroupNorm& norm, const Conv2d& conv, const at::Tensor& x, Statistics statistics);

// skip(x) + conv2(silu(norm2(conv1(silu(norm1(x)))))); skip is a 1x1 convolution where the width changes, else nothing.
struct VaeResnet {
  VaeResnet(int64_t in, int64_t out, int64_t groups, Statistics statistics);
  void list(ParameterList& list, const std::string& prefix);
  void replace(at::Tensor& x) const;  // (B, in, H, W) -> (B, out, H, W)

  GroupNorm norm1, norm2;
  Conv2d conv1, conv2;
  std::optional<Conv2d> conv_shortcut;
  StripLimits limits;
};

// x + to_out(attention(norm(x))) over all pixels, one head.
struct VaeAttention {
  VaeAttention(int64_t width, int64_t groups);
  void list(ParameterList& list, const std::string& prefix);
  at::Tensor operator()(const at::Tensor& x) const;

  GroupNorm group_norm;
  Linear to_q, to_k, to_v, to_out;
};

// Two resnets, with attention between them where the configuration asks for it.
struct VaeMidBlock {
  VaeMidBlock(int64_t width, int64_t groups, bool with_attention, Statistics statistics);
  void list(ParameterList& list, const std::string& prefix);
  void replace(at::Tensor& x) const;

  std::vector<VaeResnet> resnets;
  std::optional<VaeAttention> attention;
};

// What follows the resnets of a block.
enum class Rescale { none, half, twice };

// Resnets, then a change of size. half: a 3x3 convolution of stride 2 after one row and column of zeros at the bottom
// and the right; twice: nearest-neighbour doubling, then a 3x3 convolution.
struct VaeBlock {
  VaeBlock(int64_t in, int64_t out, int64_t layers, int64_t groups, Rescale rescale, Statistics statistics);
  void list(ParameterList& list, const std::string& prefix);
  void replace(at::Tensor& x) const;

  Rescale rescale;
  std::vector<VaeResnet> resnets;
  std::optional<Conv2d> sampler;  // "downsamplers.0.conv" or "upsamplers.0.conv"
};

}  // namespace glmimage
