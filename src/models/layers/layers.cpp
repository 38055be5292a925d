#include "models/layers/layers.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/group_norm.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/linear.h>

#include <cmath>
#include <optional>

#include "kernels/linear.h"

namespace glmimage {

void Linear::list(ParameterList& list, const std::string& prefix, double init_std) {
  list.push_back({prefix + ".weight", &weight, {out, in}, Init::normal(init_std), false, &low_rank, &scale});
  if (has_bias) list.push_back({prefix + ".bias", &bias, {out}, Init::zeros()});
}

at::Tensor Linear::operator()(const at::Tensor& x) const {
  const std::optional<at::Tensor> add = has_bias ? std::optional(bias) : std::nullopt;
  const at::Tensor y =
      quantised() ? kernels::quantised_linear(x, weight, scale, add) : kernels::linear(x, weight, add);  // (…, out)
  if (!adapted()) return y;
  // In the branch's own type: it is trained in float32 beside weights of fewer bits.
  const at::Tensor inner = at::linear(x.to(low_rank.a.scalar_type()), low_rank.a);  // (…, rank)
  return y.add(at::linear(inner, low_rank.b).to(y.scalar_type()), low_rank.scale);
}

at::Tensor joined_linear(const at::Tensor& x, const std::vector<const Linear*>& parts) {
  std::vector<at::Tensor> weights, biases;
  for (const Linear* part : parts) {
    weights.push_back(part->weight);
    if (part->has_bias) biases.push_back(part->bias);
  }
  const at::Tensor weight = at::cat(weights, 0);
  return biases.empty() ? at::linear(x, weight) : at::linear(x, weight, at::cat(biases, 0));
}

void Embedding::list(ParameterList& list, const std::string& prefix, double init_std) {
  list.push_back({prefix + ".weight", &weight, {count, width}, Init::normal(init_std)});
}

at::Tensor Embedding::operator()(const at::Tensor& ids) const { return at::embedding(weight, ids); }

void RmsNorm::list(ParameterList& list, const std::string& prefix) {
  list.push_back({prefix + ".weight", &weight, {width}, Init::ones()});
}

at::Tensor RmsNorm::operator()(const at::Tensor& x) const { return kernels::rms_norm(x, weight, eps); }

at::Tensor add_normed(const at::Tensor& x, const at::Tensor& update, const RmsNorm& norm) {
  return kernels::add_normed(x, update, norm.weight, norm.eps);
}

kernels::SumAndNormed add_normed_then_norm(const at::Tensor& x, const at::Tensor& update, const RmsNorm& norm,
                                           const RmsNorm& next) {
  if (norm.eps == next.eps) return kernels::add_normed_then_norm(x, update, norm.weight, next.weight, norm.eps);
  const at::Tensor sum = add_normed(x, update, norm);
  return {sum, next(sum)};
}

void LayerNorm::list(ParameterList& list, const std::string& prefix) {
  list.push_back({prefix + ".weight", &weight, {width}, Init::ones()});
  list.push_back({prefix + ".bias", &bias, {width}, Init::zeros()});
}

at::Tensor LayerNorm::operator()(const at::Tensor& x) const { return at::layer_norm(x, {width}, weight, bias, eps); }

at::Tensor layer_norm(const at::Tensor& x, double eps) { return at::layer_norm(x, {x.size(-1)}, {}, {}, eps); }

void GroupNorm::list(ParameterList& list, const std::string& prefix) {
  list.push_back({prefix + ".weight", &weight, {channels}, Init::ones()});
  list.push_back({prefix + ".bias", &bias, {channels}, Init::zeros()});
}

at::Tensor GroupNorm::operator()(const at::Tensor& x) const { return at::group_norm(x, groups, weight, bias, eps); }

void Conv2d::list(ParameterList& list, const std::string& prefix, double init_scale) {
  const double fan_in = static_cast<double>(in * kernel * kernel);
  list.push_back(
      {prefix + ".weight", &weight, {out, in, kernel, kernel}, Init::normal(init_scale / std::sqrt(fan_in))});
  list.push_back({prefix + ".bias", &bias, {out}, Init::zeros()});
}

at::Tensor Conv2d::operator()(const at::Tensor& x) const {
  return at::conv2d(x, weight, bias, {stride, stride}, {padding, padding});
}

}  // namespace glmimage
