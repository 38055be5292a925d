#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "core/parameters.h"
#include "kernels/rms_norm.h"

namespace glmimage {

// The layers two models or more share. Each is a struct of tensors that knows the sizes it was configured with, lists
// its parameters under `prefix`, and applies itself to any dtype and device its tensors are in. All work under
// autograd.

enum class Bias { none, yes };

// y = x Wᵀ + b, and an adapter's branch where there is one. weight (out, in), bias (out). A checkpoint may have W in
// few bits: then `weight` holds the integers and `scale` is defined (kernels::quantised_linear).
struct Linear {
  Linear() = default;
  Linear(int64_t in, int64_t out, Bias bias) : in(in), out(out), has_bias(bias == Bias::yes) {}
  void list(ParameterList& list, const std::string& prefix, double init_std = 0.02);
  at::Tensor operator()(const at::Tensor& x) const;  // (…, in) -> (…, out)

  bool adapted() const { return low_rank.a.defined(); }
  bool quantised() const { return scale.defined(); }

  int64_t in = 0, out = 0;
  bool has_bias = false;
  at::Tensor weight, scale, bias;
  LowRank low_rank;  // not in list(): models/lora lists, fills and merges it
};

// Linear layers of one input as one product, their outputs side by side: x (…, in) -> (…, sum of out). Their weights
// are copied behind each other each time. All have a bias or none has; adapters' branches are left out.
at::Tensor joined_linear(const at::Tensor& x, const std::vector<const Linear*>& parts);

// A table of rows. weight (count, width).
struct Embedding {
  Embedding() = default;
  Embedding(int64_t count, int64_t width) : count(count), width(width) {}
  void list(ParameterList& list, const std::string& prefix, double init_std = 0.02);
  at::Tensor operator()(const at::Tensor& ids) const;  // (…) int64 -> (…, width)

  int64_t count = 0, width = 0;
  at::Tensor weight;
};

// x · rsqrt(mean(x²) + eps), in float32, cast back, times weight (width).
struct RmsNorm {
  RmsNorm() = default;
  RmsNorm(int64_t width, double eps) : width(width), eps(eps) {}
  void list(ParameterList& list, const std::string& prefix);
  at::Tensor operator()(const at::Tensor& x) const;

  int64_t width = 0;
  double eps = 1e-5;
  at::Tensor weight;
};

// x + norm(update): both (…, width).
at::Tensor add_normed(const at::Tensor& x, const at::Tensor& update, const RmsNorm& norm);
// The same sum, and `next` of it.
kernels::SumAndNormed add_normed_then_norm(const at::Tensor& x, const at::Tensor& update, const RmsNorm& norm,
                                           const RmsNorm& next);

// Layer norm with weight and bias over the last dimension.
struct LayerNorm {
  LayerNorm() = default;
  LayerNorm(int64_t width, double eps) : width(width), eps(eps) {}
  void list(ParameterList& list, const std::string& prefix);
  at::Tensor operator()(const at::Tensor& x) const;

  int64_t width = 0;
  double eps = 1e-5;
  at::Tensor weight, bias;
};

// Layer norm without parameters over the last dimension.
at::Tensor layer_norm(const at::Tensor& x, double eps);

// Group norm over (B, C, H, W) with weight and bias (C).
struct GroupNorm {
  GroupNorm() = default;
  GroupNorm(int64_t groups, int64_t channels, double eps) : groups(groups), channels(channels), eps(eps) {}
  void list(ParameterList& list, const std::string& prefix);
  at::Tensor operator()(const at::Tensor& x) const;

  int64_t groups = 1, channels = 0;
  double eps = 1e-6;
  at::Tensor weight, bias;
};

// Square convolution over (B, in, H, W) with bias. weight (out, in, kernel, kernel).
struct Conv2d {
  Conv2d() = default;
  Conv2d(int64_t in, int64_t out, int64_t kernel, int64_t stride = 1, int64_t padding = 0)
      : in(in), out(out), kernel(kernel), stride(stride), padding(padding) {}
  void list(ParameterList& list, const std::string& prefix, double init_scale = 1.0);
  at::Tensor operator()(const at::Tensor& x) const;

  int64_t in = 0, out = 0, kernel = 1, stride = 1, padding = 0;
  at::Tensor weight, bias;
};

}  // namespace glmimage
