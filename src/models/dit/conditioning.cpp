#include "models/dit/conditioning.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/sin.h>

#include <cmath>

#include "models/dit/init.h"

namespace glmimage {

at::Tensor sinusoid(const at::Tensor& values, int64_t features) {
  const int64_t half = features / 2;
  const auto options = values.options().dtype(at::kFloat);
  const at::Tensor frequencies = at::exp(at::arange(half, options) * -std::log(10000.0) / half);  // (features/2)
  const at::Tensor angles = values.to(at::kFloat).unsqueeze(-1) * frequencies;                    // (…, features/2)
  return at::cat({at::cos(angles), at::sin(angles)}, -1);
}

void ConditionMlp::list(ParameterList& list, const std::string& prefix) {
  linear_1.list(list, prefix + ".linear_1", balanced_std(linear_1));
  linear_2.list(list, prefix + ".linear_2", balanced_std(linear_2));
}

at::Tensor ConditionMlp::operator()(const at::Tensor& x) const { return linear_2(at::silu(linear_1(x))); }

void TimeConditionEmbed::list(ParameterList& list, const std::string& prefix) {
  timestep_embedder.list(list, prefix + ".timestep_embedder");
  condition_embedder.list(list, prefix + ".condition_embedder");
}

at::Tensor TimeConditionEmbed::embed_size(const at::Tensor& target_size, const at::Tensor& crop) const {
  // Crop comes first; within each the vertical number first.
  const at::Tensor numbers = at::cat({crop.to(at::kFloat), target_size.to(at::kFloat)}, 1);  // (B, 4)
  const at::Tensor features = sinusoid(numbers, condition_dim).flatten(1);                   // (B, 4·condition_dim)
  return condition_embedder(features.to(condition_embedder.linear_1.bias.scalar_type()));
}

at::Tensor TimeConditionEmbed::operator()(const at::Tensor& timestep, const at::Tensor& size) const {
  const at::Tensor features = sinusoid(timestep, time_dim);  // (B, T)
  return at::silu(timestep_embedder(features.to(timestep_embedder.linear_1.bias.scalar_type())) + size);
}

}  // namespace glmimage
