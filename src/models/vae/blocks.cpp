#include "models/vae/blocks.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/upsample_nearest2d.h>

#include "kernels/attention.h"

namespace glmimage {
namespace {

bool learns(const GroupNorm& norm) { return norm.weight.requires_grad() || norm.bias.requires_grad(); }
bool learns(const Conv2d& conv) { return conv.weight.requires_grad() || conv.bias.requires_grad(); }
bool learns(const std::optional<Conv2d>& conv) { return conv && learns(*conv); }

// Whether a history is kept of what these layers do to x.
template <typename... Layers>
bool is_followed(const at::Tensor& x, const Layers&... layers) {
  return at::GradMode::is_enabled() && (x.requires_grad() || (learns(layers) || ...));
}

at::Tensor plain_norm_silu_conv(const GroupNorm& norm, const Conv2d& conv, const at::Tensor& x) {
  at::Tensor y = norm(x);
  return conv(y.requires_grad() ? at::silu(y) : at::silu_(y));
}

}  // namespace

at::Tensor finish(const GroupNorm& norm, const Conv2d& conv, const at::Tensor& x, Statistics statistics) {
  return is_followed(x, norm, conv) ? plain_norm_silu_conv(norm, conv, x)
                                    : norm_silu_conv(norm, conv, x, {.statistics = statistics});
}

VaeResnet::VaeResnet(int64_t in, int64_t out, int64_t groups, Statistics statistics)
    : norm1(groups, in, kVaeNormEps),
      norm2(groups, out, kVaeNormEps),
      conv1(in, out, 3, 1, 1),
      conv2(out, out, 3, 1, 1),
      limits{.statistics = statistics} {
  if (in != out) conv_shortcut.emplace(in, out, 1);
}

void VaeResnet::list(ParameterList& list, const std::string& prefix) {
  norm1.list(list, prefix + ".norm1");
  conv1.list(list, prefix + ".conv1");
  norm2.list(list, prefix + ".norm2");
  conv2.list(list, prefix + ".conv2");
  if (conv_shortcut) conv_shortcut->list(list, prefix + ".conv_shortcut");
}

void VaeResnet::replace(at::Tensor& x) const {
  if (is_followed(x, norm1, conv1, norm2, conv2, conv_shortcut)) {
    const at::Tensor h = plain_norm_silu_conv(norm2, conv2, plain_norm_silu_conv(norm1, conv1, x));
    x = (conv_shortcut ? (*conv_shortcut)(x) : x) + h;
    return;
  }
  at::Tensor h = norm_silu_conv(norm1, conv1, x, limits);  // (B, out, H, W)
  if (conv_shortcut) {
    skip_and_add(*conv_shortcut, x, norm2, conv2, std::move(h), limits);
  } else {
    add_norm_silu_conv(norm2, conv2, h, x, limits);
  }
}

VaeAttention::VaeAttention(int64_t width, int64_t groups)
    : group_norm(groups, width, kVaeNormEps),
      to_q(width, width, Bias::yes),
      to_k(width, width, Bias::yes),
      to_v(width, width, Bias::yes),
      to_out(width, width, Bias::yes) {}

void VaeAttention::list(ParameterList& list, const std::string& prefix) {
  group_norm.list(list, prefix + ".group_norm");
  to_q.list(list, prefix + ".to_q");
  to_k.list(list, prefix + ".to_k");
  to_v.list(list, prefix + ".to_v");
  to_out.list(list, prefix + ".to_out.0");
}

at::Tensor VaeAttention::operator()(const at::Tensor& x) const {
  const at::Tensor tokens = group_norm(x).flatten(2).transpose(1, 2).unsqueeze(1);      // (B, 1, H·W, C)
  at::Tensor y = to_out(kernels::attention(to_q(tokens), to_k(tokens), to_v(tokens)));  // (B, 1, H·W, C)
  return x + y.squeeze(1).transpose(1, 2).reshape(x.sizes());
}

VaeMidBlock::VaeMidBlock(int64_t width, int64_t groups, bool with_attention, Statistics statistics) {
  for (int i = 0; i < 2; ++i) resnets.emplace_back(width, width, groups, statistics);
  if (with_attention) attention.emplace(width, groups);
}

void VaeMidBlock::list(ParameterList& list, const std::string& prefix) {
  for (size_t i = 0; i < resnets.size(); ++i) resnets[i].list(list, prefix + ".resnets." + std::to_string(i));
  if (attention) attention->list(list, prefix + ".attentions.0");
}

void VaeMidBlock::replace(at::Tensor& x) const {
  resnets[0].replace(x);
  if (attention) x = (*attention)(x);
  resnets[1].replace(x);
}

VaeBlock::VaeBlock(int64_t in, int64_t out, int64_t layers, int64_t groups, Rescale rescale, Statistics statistics)
    : rescale(rescale) {
  for (int64_t i = 0; i < layers; ++i) resnets.emplace_back(i == 0 ? in : out, out, groups, statistics);
  if (rescale == Rescale::half) sampler.emplace(out, out, 3, 2, 0);
  if (rescale == Rescale::twice) sampler.emplace(out, out, 3, 1, 1);
}

void VaeBlock::list(ParameterList& list, const std::string& prefix) {
  for (size_t i = 0; i < resnets.size(); ++i) resnets[i].list(list, prefix + ".resnets." + std::to_string(i));
  if (sampler) sampler->list(list, prefix + (rescale == Rescale::half ? ".downsamplers.0.conv" : ".upsamplers.0.conv"));
}

void VaeBlock::replace(at::Tensor& x) const {
  for (const VaeResnet& resnet : resnets) resnet.replace(x);
  if (rescale == Rescale::none) return;
  const bool followed = is_followed(x, sampler);
  if (rescale == Rescale::half) {
    x = followed ? (*sampler)(at::constant_pad_nd(x, {0, 1, 0, 1})) : halving_conv(*sampler, x);
  } else {
    x = followed ? (*sampler)(at::upsample_nearest2d(x, {2 * x.size(2), 2 * x.size(3)})) : doubling_conv(*sampler, x);
  }
}

}  // namespace glmimage
