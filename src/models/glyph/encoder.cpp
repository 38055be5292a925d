#include "models/glyph/encoder.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/log.h>
#include <ATen/ops/where.h>

#include <cmath>
#include <limits>

#include "core/error.h"
#include "core/json.h"
#include "core/weight_files.h"
#include "kernels/attention.h"
#include "kernels/gelu.h"
#include "models/layers/device_form.h"

namespace glmimage {
namespace {

const char kEmbedTokens[] = "encoder.embed_tokens.weight";

double inverse_root(int64_t n) { return 1.0 / std::sqrt(static_cast<double>(n)); }

// The result has the weight's type even where the stream was widened to float32.
at::Tensor norm(const RmsNorm& rms, const at::Tensor& x) { return rms(x).to(rms.weight.scalar_type()); }

// float16 overflows to infinity in large residuals; the reference then caps them and goes on.
at::Tensor cap(const at::Tensor& x) {
  if (x.scalar_type() != at::kHalf) return x;
  constexpr double kMax = 65504;
  const at::Tensor limit = at::where(x.isinf().any(), kMax - 1000, kMax).to(at::kHalf);
  return at::clamp(x, -limit, limit);
}

}  // namespace

at::Tensor relative_buckets(int64_t tokens, int64_t buckets, int64_t max_distance) {
  const int64_t half = buckets / 2, exact = half / 2;
  const at::Tensor r = at::arange(-(tokens - 1), tokens, at::kLong);  // (2·tokens - 1)
  const at::Tensor n = r.abs();
  const double span = std::log(static_cast<double>(max_distance) / static_cast<double>(exact));
  const at::Tensor shared =
      (at::log(n.to(at::kFloat) / exact) / span * (half - exact)).clamp(-1, half).to(at::kLong) + exact;
  return at::where(n < exact, n, shared.clamp_max(half - 1)) + (r > 0).to(at::kLong) * half;
}

GlyphBlock::GlyphBlock(const GlyphConfig& c)
    : heads(c.heads),
      head_dim(c.head_dim),
      attention_norm(c.width, c.eps),
      o(c.heads * c.head_dim, c.width, Bias::none),
      ff_norm(c.width, c.eps),
      wo(c.feed_forward, c.width, Bias::none) {
  q = k = v = Linear(c.width, c.heads * c.head_dim, Bias::none);
  wi_0 = wi_1 = Linear(c.width, c.feed_forward, Bias::none);
}

// Initial spreads as in T5: the missing 1/sqrt(head_dim) of the scores is in q's.
void GlyphBlock::list(ParameterList& list, const std::string& prefix) {
  const std::string attention = prefix + ".layer.0.SelfAttention", ff = prefix + ".layer.1.DenseReluDense";
  q.list(list, attention + ".q", inverse_root(q.in * head_dim));
  k.list(list, attention + ".k", inverse_root(k.in));
  v.list(list, attention + ".v", inverse_root(v.in));
  o.list(list, attention + ".o", inverse_root(o.in));
  attention_norm.list(list, prefix + ".layer.0.layer_norm");
  wi_0.list(list, ff + ".wi_0", inverse_root(wi_0.in));
  wi_1.list(list, ff + ".wi_1", inverse_root(wi_1.in));
  wo.list(list, ff + ".wo", inverse_root(wo.in));
  ff_norm.list(list, prefix + ".layer.1.layer_norm");
}

at::Tensor GlyphBlock::operator()(const at::Tensor& input, const at::Tensor& bias) const {
  const at::Tensor h = norm(attention_norm, input);  // (B, T, width)
  const auto split = [&](const Linear& projection) {
    return projection(h).unflatten(-1, {heads, head_dim}).transpose(1, 2);  // (B, heads, T, head_dim)
  };
  kernels::AttentionOptions options;
  options.scale = 1.0;
  options.bias = bias;
  const at::Tensor mixed = kernels::attention(split(q), split(k), split(v), options);
  const at::Tensor x = cap(input + o(mixed.transpose(1, 2).flatten(2)));

  const at::Tensor f = norm(ff_norm, x);
  const at::Tensor inner = kernels::gelu_tanh(wi_0(f)) * wi_1(f);  // (B, T, feed_forward)
  return cap(x + wo(wo.quantised() ? inner : inner.to(wo.weight.scalar_type())));
}

GlyphEncoder::GlyphEncoder(const GlyphConfig& config)
    : config(config),
      shared(config.vocab_size, config.width),
      relative_attention_bias(config.buckets, config.heads),
      final_layer_norm(config.width, config.eps) {
  for (int64_t i = 0; i < config.layers; ++i) blocks.emplace_back(config);
}

GlyphEncoder GlyphEncoder::open(const std::filesystem::path& folder, const Placement& placement) {
  GlyphEncoder model(GlyphConfig::from_json(JsonObject::open(folder / "config.json")));
  const WeightFiles files = WeightFiles::open(folder);
  // With both names present the reference computes with embed_tokens (and ties them when they are equal).
  ParameterList list;
  model.list(list, files.has(kEmbedTokens) ? kEmbedTokens : "shared.weight");
  load_parameters(list, files, placement, {"decoder.", "lm_head.", "shared.weight"});
  take_device_form(list);
  if (placement.dtype == at::kHalf) {
    for (size_t i = 0; i < model.blocks.size(); ++i) {
      const std::string name = concat("encoder.block.", i, ".layer.1.DenseReluDense.wo.weight");
      model.blocks[i].wo.weight = files.tensor(name).to(placement.device, at::kFloat);
    }
  }
  return model;
}

void GlyphEncoder::list(ParameterList& list, const std::string& table_name) {
  list.push_back({table_name, &shared.weight, {shared.count, shared.width}, Init::normal(1.0)});
  for (size_t i = 0; i < blocks.size(); ++i) {
    const std::string prefix = concat("encoder.block.", i);
    if (i == 0) {
      relative_attention_bias.list(list, prefix + ".layer.0.SelfAttention.relative_attention_bias",
                                   inverse_root(config.width));
    }
    blocks[i].list(list, prefix);
  }
  final_layer_norm.list(list, "encoder.final_layer_norm");
}

// (B or 1, heads, tokens, tokens): the table's entry for every distance, and -inf at padded keys.
at::Tensor GlyphEncoder::score_bias(int64_t tokens, const at::Tensor& mask) const {
  const at::Tensor buckets = relative_buckets(tokens, config.buckets, config.max_distance).to(device());
  const at::Tensor by_distance = relative_attention_bias(buckets).t();  // (heads, 2·tokens - 1)
  // Row i of the table starts at distance -i: the windows of the distances, last one first.
  const at::Tensor bias = by_distance.unfold(1, tokens, 1).flip(1).unsqueeze(0);  // (1, heads, tokens, tokens)
  if (!mask.defined()) return bias;
  const at::Tensor padding = mask.logical_not().unsqueeze(1).unsqueeze(1);  // (B, 1, 1, tokens)
  return bias.masked_fill(padding, -std::numeric_limits<double>::infinity());
}

at::Tensor GlyphEncoder::forward(const at::Tensor& ids, const at::Tensor& mask) const {
  if (ids.dim() != 2 || ids.size(1) == 0) {
    fail(ErrorKind::internal, "glyph encoder: ids of shape ", ids.sizes(), ", expected (B, T) with T > 0");
  }
  at::Tensor x = shared(ids);                             // (B, T, width)
  const at::Tensor bias = score_bias(ids.size(1), mask);  // (B or 1, heads, T, T)
  for (size_t i = 0; i < blocks.size(); ++i) {
    const LayerTurn turn(listener, i);
    x = blocks[i](x, bias);
  }
  return norm(final_layer_norm, x);
}

}  // namespace glmimage
