#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "core/parameters.h"
#include "models/glyph/config.h"
#include "models/layers/layer_turn.h"
#include "models/layers/layers.h"

namespace glmimage {

// The bucket of the T5 relative position r = key - query, for r = -(tokens-1) .. tokens-1 -> (2·tokens - 1) int64 on
// the CPU. Half of the buckets are for keys behind the query; small distances have one each, larger ones share
// logarithmically. Raffel et al. 2020; reference: transformers, T5Attention (bidirectional).
at::Tensor relative_buckets(int64_t tokens, int64_t buckets, int64_t max_distance);

// x += o(attention(norm(x))); x += wo(gelu(wi_0 h) · (wi_1 h)) with h = norm(x).
struct GlyphBlock {
  explicit GlyphBlock(const GlyphConfig& config);
  void list(ParameterList& list, const std::string& prefix);
  // x (B, T, width), bias (B or 1, heads, T, T) added to the scores -> like x
  at::Tensor operator()(const at::Tensor& x, const at::Tensor& bias) const;

  int64_t heads = 0, head_dim = 0;
  RmsNorm attention_norm;  // layer.0.layer_norm
  Linear q, k, v, o;       // layer.0.SelfAttention
  RmsNorm ff_norm;         // layer.1.layer_norm
  Linear wi_0, wi_1, wo;   // layer.1.DenseReluDense; in float16 models wo stays float32, as it overflows
};

// The encoder of the quoted strings of a prompt: ByT5's encoder. Const after loading; works under autograd.
// Reference: transformers 5.17.0, T5EncoderModel.
struct GlyphEncoder {
  GlyphEncoder() = default;
  explicit GlyphEncoder(const GlyphConfig& config);
  // Reads text_encoder/ of a checkpoint: the table under either of its tied names, decoder tensors ignored; with
  // placement.dtype float16 every wo stays float32. Throws ErrorKind::checkpoint.
  static GlyphEncoder open(const std::filesystem::path& folder, const Placement& placement);

  void list(ParameterList& list, const std::string& table_name = "shared.weight");

  // ids (B, T) int64 on the model's device; mask (B, T) bool, true at real ids (at least one a row), undefined:
  // all real -> (B, T, width) in the model's type. Rows at padding have no meaning.
  at::Tensor forward(const at::Tensor& ids, const at::Tensor& mask = {}) const;

  at::ScalarType dtype() const { return shared.weight.scalar_type(); }
  at::Device device() const { return shared.weight.device(); }

  GlyphConfig config;
  Embedding shared;
  Embedding relative_attention_bias;  // in block 0, used by every block
  std::vector<GlyphBlock> blocks;
  RmsNorm final_layer_norm;
  LayerListener* listener = nullptr;  // of `blocks`

 private:
  at::Tensor score_bias(int64_t tokens, const at::Tensor& mask) const;
};

}  // namespace glmimage
