#include "models/visual_tokenizer/quantizer.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/argmin.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>

#include <algorithm>
#include <vector>

#include "core/autocast.h"

namespace glmimage {
namespace {

// Along the last dimension, in float32; the floor keeps a zero vector zero.
at::Tensor l2_normalise(const at::Tensor& x) {
  const at::Tensor wide = x.to(at::kFloat);
  return wide / wide.norm(2, {-1}, /*keepdim=*/true).clamp_min(1e-12);
}

// The first nearest code of every row: z (N, D), codes (K, D) -> (N) int64. |z|² + |e|² - 2 z·e and not the cosine, so
// that near ties fall as they do in the reference.
at::Tensor nearest(const at::Tensor& z, const at::Tensor& codes) {
  constexpr int64_t kRows = 1024;  // bounds the table of distances to 64 MiB at the published size
  const at::Tensor code_squares = (codes * codes).sum(1), across = codes.t();
  std::vector<at::Tensor> ids;
  for (int64_t first = 0; first < z.size(0); first += kRows) {
    const at::Tensor rows = z.narrow(0, first, std::min(kRows, z.size(0) - first));
    const at::Tensor distances = (rows * rows).sum(1, true) + code_squares - 2 * at::matmul(rows, across);  // (rows, K)
    ids.push_back(at::argmin(distances, 1));
  }
  return at::cat(ids);
}

}  // namespace

Quantizer::Quantizer(const VqConfig& config)
    : quant_conv(config.latent_channels, config.embed_dim, 1),
      codebook(config.codes, config.embed_dim),
      post_quant_conv(config.embed_dim, config.latent_channels, 1) {}

void Quantizer::list(ParameterList& list, const std::string& prefix) {
  codebook.list(list, prefix + ".quantize.embedding", 1.0);
  quant_conv.list(list, prefix + ".quant_conv");
  post_quant_conv.list(list, prefix + ".post_quant_conv");
}

at::Tensor Quantizer::project(const at::Tensor& features) const {
  const Autocast in_float32(features.device(), std::nullopt);
  return at::linear(features.to(at::kFloat), quant_conv.weight.flatten(1).to(at::kFloat),
                    quant_conv.bias.to(at::kFloat));
}

Quantized Quantizer::quantize(const at::Tensor& z) const {
  const Autocast in_float32(z.device(), std::nullopt);
  const at::Tensor unit = l2_normalise(z), codes = l2_normalise(codebook.weight);  // (…, D), (K, D)
  at::Tensor ids;
  {
    at::NoGradGuard no_grad;
    ids = nearest(unit.detach().reshape({-1, unit.size(-1)}), codes.detach());
  }
  const auto shape = unit.sizes().slice(0, static_cast<size_t>(unit.dim() - 1));
  return {unit, codes.index_select(0, ids).view(unit.sizes()), ids.view(shape)};
}

at::Tensor Quantizer::ids(const at::Tensor& features) const {
  at::NoGradGuard no_grad;
  return quantize(project(features)).ids;
}

}  // namespace glmimage
