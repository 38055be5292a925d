#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/parameters.h"
#include "models/ar/config.h"
#include "models/ar/kv_cache.h"
#include "models/ar/layer.h"
#include "models/ar/mrope.h"
#include "models/layers/layer_turn.h"
#include "models/layers/layers.h"
#include "models/layers/recompute.h"

namespace glmimage {

// The autoregressive model: prompt and visual ids to the next visual id. Const after loading; positions and caches are
// arguments. B rows, T tokens, D hidden size, V rows of embed_tokens, Vv rows of lm_head.
// Source: transformers 5.17, models/glm_image (GlmImageTextModel and lm_head).
struct ArModel {
  explicit ArModel(ArConfig config);
  // Opens vision_language_encoder/ (config.json and weights). Throws ErrorKind::checkpoint.
  static ArModel open(const std::filesystem::path& folder, const Placement& placement);
  // The same, fused for inference.
  static ArModel load(const std::filesystem::path& folder, const Placement& placement);
  // Names as in the checkpoint: model.language_model.…, lm_head.weight.
  void list(ParameterList& list);
  // Joins matrices that read the same input. For inference: the parts become views, which an optimiser cannot use.
  void fuse();

  at::Tensor embed(const at::Tensor& ids) const;  // (B, T) int64 on the model's device -> (B, T, D)
  at::Tensor embed_one(int64_t id) const;         // -> (1, 1, D), a view: no upload, no lookup
  // positions (3, B, T) int64 -> the table forward() takes, in the type and on the device of the weights.
  Rope rope(const at::Tensor& positions) const;

  // Whole sequences, teacher-forced: embeddings (B, T, D) -> hidden (B, T, D) after the final norm. Causal, so padding
  // on the right needs no mask. key_mask (B, T) bool, true where a token counts: needed for padding on the left.
  // Differentiable.
  at::Tensor forward(const at::Tensor& embeddings, const Rope& rope,
                     const std::optional<at::Tensor>& key_mask = std::nullopt,
                     Activations activations = Activations::keep) const;
  // The prompt into an empty cache: (B, T, D) -> hidden (B, T, D).
  at::Tensor prefill(const at::Tensor& embeddings, const Rope& rope, KvCache& cache,
                     const std::optional<at::Tensor>& key_mask = std::nullopt) const;
  // One more token per row: (B, 1, D), rope (B, 1, 1, R/2) -> hidden (B, 1, D). key_mask (B, cached + 1) bool.
  at::Tensor decode(const at::Tensor& embedding, const Rope& rope, KvCache& cache,
                    const std::optional<at::Tensor>& key_mask = std::nullopt) const;

  // One more token for each of several requests, whose caches (Fill::host) hold their prompts and may be filled to
  // different lengths: (B, 1, D), rope (B, 1, 1, R/2) -> hidden (B, 1, D). The weights are read once for all.
  at::Tensor decode_together(const at::Tensor& embeddings, const Rope& rope, const std::vector<KvCache*>& caches) const;

  at::Tensor logits(const at::Tensor& hidden) const;  // (…, D) -> (…, Vv)

  ArConfig config;
  Embedding embed_tokens;
  std::vector<ArLayer> layers;
  RmsNorm norm;
  Linear lm_head;
  LayerListener* listener = nullptr;           // of `layers`
  const SequenceParallel* sequence = nullptr;  // set: what forward is given and gives is this process's part

 private:
  at::Tensor run(at::Tensor x, const Rope& rope, const ArContext& context, Activations activations) const;
};

// Names in the same weight files that belong to the visual tokenizer.
const std::vector<std::string>& ar_ignored_prefixes();

}  // namespace glmimage
