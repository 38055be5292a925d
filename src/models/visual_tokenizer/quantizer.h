#pragma once

#include <ATen/core/Tensor.h>

#include <string>

#include "core/parameters.h"
#include "models/layers/layers.h"
#include "models/visual_tokenizer/config.h"

namespace glmimage {

// One look-up in the codebook, all of it in float32 on the unit sphere.
struct Quantized {
  at::Tensor z;    // (…, embed_dim): the features, projected and L2-normalised
  at::Tensor q;    // (…, embed_dim): the nearest code of each, L2-normalised
  at::Tensor ids;  // (…) int64
};

// Features -> nearest of the codes. Distances and ids are computed in float32 whatever type the weights have: in
// bfloat16 near ties flip. z carries the gradient of the features, q that of the codebook; a training loop adds its own
// terms, as mean|sg(q) - z|² + 0.25·mean|q - sg(z)|², and its own straight-through z + sg(q - z). Const after loading.
// Reference: transformers 5.17.0, GlmImageVQVAE (van den Oord et al. 2017; l2 codes: Yu et al. 2021).
struct Quantizer {
  explicit Quantizer(const VqConfig& config);
  void list(ParameterList& list, const std::string& prefix);

  at::Tensor project(const at::Tensor& features) const;  // (…, latent_channels) -> z (…, embed_dim), not normalised
  Quantized quantize(const at::Tensor& z) const;         // z as project gives it
  at::Tensor ids(const at::Tensor& features) const;      // project and quantize, without gradient -> (…) int64

  Conv2d quant_conv;       // 1x1
  Embedding codebook;      // quantize.embedding (codes, embed_dim)
  Conv2d post_quant_conv;  // 1x1; in every checkpoint, used by nothing here
};

}  // namespace glmimage
