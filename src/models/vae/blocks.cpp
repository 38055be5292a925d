#include "models/vae/blocks.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/upsample_nearest2d.h>

#include "kernels/attention.h"

namespace glmimage {
namespace {

// residual + fresh, where nobody else holds `fresh`: written into it unless autograd follows it.
at::Tensor add_residual(const at::Tensor& residual, at::Tensor fresh) {
  return fresh.requires_grad() ? residual + fresh : fresh.add_(residual);
}

}  // namespace

at::Tensor norm_silu(const GroupNorm& norm, const at::Tensor& x) {
  at::Tensor y = norm(x);
  return y.requires_grad() ? at::silu(y) : at::silu_(y);
}

VaeResnet::VaeResnet(int64_t in, int64_t out, int64_t groups)
    : norm1(groups, in, kVaeNormEps),
      norm2(groups, out, kVaeNormEps),
      conv1(in, out, 3, 1, 1),
      conv2(out, out, 3, 1, 1) {
  if (in != out) conv_shortcut.emplace(in, out, 1);
}

void VaeResnet::list(ParameterList& list, const std::string& prefix) {
  norm1.list(list, prefix + ".norm1");
  conv1.list(list, prefix + ".conv1");
  norm2.list(list, prefix + ".norm2");
  conv2.list(list, prefix + ".conv2");
  if (conv_shortcut) conv_shortcut->list(list, prefix + ".conv_shortcut");
}

at::Tensor VaeResnet::operator()(const at::Tensor& x) const {
  at::Tensor h = conv1(norm_silu(norm1, x));
  h = conv2(norm_silu(norm2, h));
  return add_residual(conv_shortcut ? (*conv_shortcut)(x) : x, std::move(h));
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

VaeMidBlock::VaeMidBlock(int64_t width, int64_t groups, bool with_attention) {
  for (int i = 0; i < 2; ++i) resnets.emplace_back(width, width, groups);
  if (with_attention) attention.emplace(width, groups);
}

void VaeMidBlock::list(ParameterList& list, const std::string& prefix) {
  for (size_t i = 0; i < resnets.size(); ++i) resnets[i].list(list, prefix + ".resnets." + std::to_string(i));
  if (attention) attention->list(list, prefix + ".attentions.0");
}

at::Tensor VaeMidBlock::operator()(const at::Tensor& x) const {
  at::Tensor h = resnets[0](x);
  if (attention) h = (*attention)(h);
  return resnets[1](h);
}

VaeBlock::VaeBlock(int64_t in, int64_t out, int64_t layers, int64_t groups, Rescale rescale) : rescale(rescale) {
  for (int64_t i = 0; i < layers; ++i) resnets.emplace_back(i == 0 ? in : out, out, groups);
  if (rescale == Rescale::half) sampler.emplace(out, out, 3, 2, 0);
  if (rescale == Rescale::twice) sampler.emplace(out, out, 3, 1, 1);
}

void VaeBlock::list(ParameterList& list, const std::string& prefix) {
  for (size_t i = 0; i < resnets.size(); ++i) resnets[i].list(list, prefix + ".resnets." + std::to_string(i));
  if (sampler) sampler->list(list, prefix + (rescale == Rescale::half ? ".downsamplers.0.conv" : ".upsamplers.0.conv"));
}

at::Tensor VaeBlock::operator()(const at::Tensor& x) const {
  at::Tensor h = x;
  for (const VaeResnet& resnet : resnets) h = resnet(h);
  switch (rescale) {
    case Rescale::none: return h;
    case Rescale::half: return (*sampler)(at::constant_pad_nd(h, {0, 1, 0, 1}));
    case Rescale::twice: return (*sampler)(at::upsample_nearest2d(h, {2 * h.size(2), 2 * h.size(3)}));
  }
  return h;
}

}  // namespace glmimage
