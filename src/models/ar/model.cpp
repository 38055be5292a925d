#include "models/ar/model.h"

#include <ATen/ops/eye.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>

#include <limits>
#include <utility>

#include "core/error.h"
#include "models/layers/device_form.h"

namespace glmimage {
namespace {

// Scores to add for a causal sequence whose keys count only where key_mask (B, T) says so: (B, 1, T, T). Every token
// sees itself, or a row of nothing but -inf would turn into NaN and poison the gradients.
at::Tensor masked_causal_bias(const at::Tensor& key_mask, const at::Tensor& like) {
  const int64_t tokens = key_mask.size(1);
  const auto flags = key_mask.options().dtype(at::kBool);
  at::Tensor causal = at::ones({tokens, tokens}, flags).tril();                               // (T, T)
  at::Tensor visible = key_mask.to(at::kBool).unsqueeze(1).unsqueeze(1).logical_and(causal);  // (B, 1, T, T)
  visible = visible.logical_or(at::eye(tokens, flags));
  return at::zeros(visible.sizes(), like.options())
      .masked_fill(visible.logical_not(), -std::numeric_limits<double>::infinity());
}

// The same for one new token over all cached keys: key_mask (B, Tk) -> (B, 1, 1, Tk).
at::Tensor key_bias(const at::Tensor& key_mask, const at::Tensor& like) {
  at::Tensor hidden = key_mask.to(at::kBool).logical_not().unsqueeze(1).unsqueeze(1);
  return at::zeros(hidden.sizes(), like.options()).masked_fill(hidden, -std::numeric_limits<double>::infinity());
}

}  // namespace

const std::vector<std::string>& ar_ignored_prefixes() {
  static const std::vector<std::string> prefixes{"model.visual.", "model.vqmodel."};
  return prefixes;
}

ArModel::ArModel(ArConfig c)
    : config(std::move(c)),
      embed_tokens(config.vocab_size, config.hidden_size),
      norm(config.hidden_size, config.rms_norm_eps),
      lm_head(config.hidden_size, config.visual_vocab_size, Bias::none) {
  layers.reserve(static_cast<size_t>(config.layers));
  for (int64_t i = 0; i < config.layers; ++i) layers.emplace_back(config);
}

ArModel ArModel::open(const std::filesystem::path& folder, const Placement& placement) {
  ArModel model(ArConfig::from_json(JsonObject::open(folder / "config.json")));
  ParameterList parameters;
  model.list(parameters);
  load_parameters(parameters, WeightFiles::open(folder), placement, ar_ignored_prefixes());
  take_device_form(parameters);
  return model;
}

ArModel ArModel::load(const std::filesystem::path& folder, const Placement& placement) {
  ArModel model = open(folder, placement);
  model.fuse();
  return model;
}

void ArModel::list(ParameterList& list) {
  const std::string prefix = "model.language_model";
  const double std = config.initializer_range;
  embed_tokens.list(list, prefix + ".embed_tokens", std);
  for (size_t i = 0; i < layers.size(); ++i) layers[i].list(list, concat(prefix, ".layers.", i), std);
  norm.list(list, prefix + ".norm");
  lm_head.list(list, "lm_head", std);
}

void ArModel::fuse() {
  for (ArLayer& layer : layers) layer.attention.fuse();
}

at::Tensor ArModel::embed(const at::Tensor& ids) const { return embed_tokens(ids); }

at::Tensor ArModel::embed_one(int64_t id) const { return embed_tokens.weight.narrow(0, id, 1).unsqueeze(0); }

Rope ArModel::rope(const at::Tensor& positions) const { return mrope(config, positions, embed_tokens.weight); }

at::Tensor ArModel::forward(const at::Tensor& embeddings, const Rope& rope, const std::optional<at::Tensor>& key_mask,
                            Activations activations) const {
  ArContext context;
  context.sequence = sequence;
  if (key_mask && sequence) fail(ErrorKind::internal, "a divided sequence has no mask of its keys");
  if (key_mask) context.bias = masked_causal_bias(*key_mask, embeddings);
  return run(embeddings, rope, context, activations);
}

at::Tensor ArModel::prefill(const at::Tensor& embeddings, const Rope& rope, KvCache& cache,
                            const std::optional<at::Tensor>& key_mask) const {
  if (cache.length() != 0)
    fail(ErrorKind::internal, "prefill needs an empty cache; it holds ", cache.length(), " tokens");
  ArContext context{.bias = std::nullopt, .cache = &cache};
  if (key_mask) context.bias = masked_causal_bias(*key_mask, embeddings);
  at::Tensor hidden = run(embeddings, rope, context, Activations::keep);  // (B, T, D)
  cache.advance(embeddings.size(1));
  return hidden;
}

at::Tensor ArModel::decode(const at::Tensor& embedding, const Rope& rope, KvCache& cache,
                           const std::optional<at::Tensor>& key_mask) const {
  if (cache.length() == 0) fail(ErrorKind::internal, "decode needs a cache that holds the prompt");
  if (embedding.size(1) != 1) fail(ErrorKind::internal, "decode takes one token per row, not ", embedding.size(1));
  ArContext context{.bias = std::nullopt, .cache = &cache};
  cache.open_slot();
  if (key_mask) {
    if (cache.fill() == Fill::device) fail(ErrorKind::internal, "a cache the device fills has a mask of its own");
    context.bias = key_bias(*key_mask, embedding);
  } else if (cache.fill() == Fill::device) {
    context.bias = cache.taken();
  }
  at::Tensor hidden = run(embedding, rope, context, Activations::keep);  // (B, 1, D)
  cache.advance(1);
  return hidden;
}

at::Tensor ArModel::decode_together(const at::Tensor& embeddings, const Rope& rope,
                                    const std::vector<KvCache*>& caches) const {
  if (embeddings.size(0) != static_cast<int64_t>(caches.size()) || embeddings.size(1) != 1) {
    fail(ErrorKind::internal, "decode_together takes one token for each of ", caches.size(), " caches, not ",
         embeddings.sizes());
  }
  for (KvCache* cache : caches) {
    if (cache->length() == 0 || cache->fill() != Fill::host) {
      fail(ErrorKind::internal, "decode_together needs caches that hold a prompt and are filled by the host");
    }
    cache->open_slot();
  }
  at::Tensor hidden =
      run(embeddings, rope, {.bias = std::nullopt, .cache = nullptr, .caches = &caches}, Activations::keep);
  for (KvCache* cache : caches) cache->advance(1);
  return hidden;
}

at::Tensor ArModel::logits(const at::Tensor& hidden) const { return lm_head(hidden); }

at::Tensor ArModel::run(at::Tensor x, const Rope& rope, const ArContext& context, Activations activations) const {
  for (size_t i = 0; i < layers.size(); ++i) {
    const LayerTurn turn(listener, i);
    const int64_t number = static_cast<int64_t>(i);
    if (activations == Activations::keep) {
      x = layers[i](x, rope, context, number);  // (B, T, D)
      turn.made(x);
      continue;
    }
    const Block layer = [this, rope, context, number](const std::vector<at::Tensor>& in) -> std::vector<at::Tensor> {
      return {layers[static_cast<size_t>(number)](in[0], rope, context, number)};
    };
    x = run_block(activations, layer, {x})[0];  // (B, T, D)
    turn.made(x);
  }
  return norm(x);
}

}  // namespace glmimage
