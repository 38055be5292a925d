#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>

#include "core/parameters.h"
#include "models/tokens.h"
#include "models/visual_tokenizer/config.h"
#include "models/visual_tokenizer/preprocess.h"
#include "models/visual_tokenizer/quantizer.h"
#include "models/visual_tokenizer/vision_tower.h"

namespace glmimage {

// Pictures -> visual tokens: a vision tower and a codebook. Const after loading; works under autograd, on any device.
// Reference: transformers 5.17.0, GlmImageModel.get_image_features and get_image_tokens.
struct VisualTokenizer {
  explicit VisualTokenizer(const VisualTokenizerConfig& config);
  // Reads its part of vision_language_encoder/ of a checkpoint; the language model's tensors may lie beside it. Throws
  // ErrorKind::checkpoint.
  static VisualTokenizer open(const std::filesystem::path& folder, const Placement& placement);

  void list(ParameterList& list);  // "model.visual.…", "model.vqmodel.…"

  // B pictures of one grid: patches (B, grid.count(), 3·p·p), as `preprocess` makes them, any float type and device
  // -> (B, grid.count(), hidden_size) in the tower's type. One picture may come without B. Throws ErrorKind::internal
  // when the patches do not fit the grid.
  at::Tensor features(const at::Tensor& patches, Grid grid, Activations activations = Activations::keep) const;

  // Ids without gradient: (B, grid.count()) int64 on the model's device.
  at::Tensor encode_batch(const at::Tensor& patches, Grid grid) const;
  // One picture.
  VisualTokens encode(const Patches& patches) const;

  at::ScalarType dtype() const { return tower.patch_embed.weight.scalar_type(); }
  at::Device device() const { return tower.patch_embed.weight.device(); }

  VisualTokenizerConfig config;
  VisionTower tower;
  Quantizer quantizer;
};

}  // namespace glmimage
