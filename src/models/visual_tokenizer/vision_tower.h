#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "core/parameters.h"
#include "models/layers/layer_turn.h"
#include "models/layers/layers.h"
#include "models/layers/recompute.h"
#include "models/tokens.h"
#include "models/visual_tokenizer/config.h"

namespace glmimage {

// x += proj(attention(norm1(x))); x += fc2(gelu(fc1(norm2(x)))). Attention sees all patches of a picture.
struct VisionBlock {
  explicit VisionBlock(const VisionConfig& config);
  void list(ParameterList& list, const std::string& prefix);
  at::Tensor operator()(const at::Tensor& x) const;  // (B, n, E) -> (B, n, E)

  int64_t heads = 0;
  double init_std = 0.02;
  LayerNorm norm1, norm2;
  Linear qkv, proj;  // attn.qkv, attn.proj
  Linear fc1, fc2;   // mlp.fc1, mlp.fc2

 private:
  at::Tensor attend(const at::Tensor& x) const;
};

// Patches -> one feature vector each. Pictures of a batch never see each other. Const after loading; works under
// autograd. Reference: transformers 5.17.0, GlmImageVisionModel.
struct VisionTower {
  explicit VisionTower(const VisionConfig& config);
  void list(ParameterList& list, const std::string& prefix);

  // patches (B, grid.count(), 3·p·p), any float type -> (B, grid.count(), E) in the tower's type
  at::Tensor operator()(const at::Tensor& patches, Grid grid, Activations activations = Activations::keep) const;

  at::Tensor embed(const at::Tensor& patches) const;  // the patch projection alone
  // The position table stretched over the picture: bilinear between cell centres, clamped at the border, in float32
  // (grid_sample with align_corners=false) -> (grid.count(), E) in the tower's type.
  at::Tensor positions(Grid grid) const;

  VisionConfig config;
  Conv2d patch_embed;            // patch_embed.proj, stride = kernel: a linear map of each patch
  Embedding position_embedding;  // embeddings.position_embedding (table_side², E)
  std::vector<VisionBlock> blocks;
  LayerListener* listener = nullptr;  // of `blocks`
};

}  // namespace glmimage
