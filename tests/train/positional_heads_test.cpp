#include "train/stages/positional_heads.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/argmax.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/softmax.h>
#include <gtest/gtest.h>

#include <cmath>

#include "core/rng.h"
#include "kernels/rope.h"
#include "models/dit/rope.h"
#include "train/presets.h"

namespace glmimage::train {
namespace {

constexpr int64_t kSide = 8, kGlyphs = 1;

// Where a head looks from the token (row, column) of a grid when projections see nothing but their biases:
// (kSide, kSide) weights.
at::Tensor gaze(const DitBlock& block, int64_t head, int64_t row, int64_t column) {
  const DitRope rope = dit_rope({kSide, kSide}, block.head_dim, kGlyphs, at::kCPU);
  const auto turned = [&](const at::Tensor& bias) {
    const at::Tensor one = bias.view({block.heads, block.head_dim})[head];  // (head_dim)
    const at::Tensor all = at::layer_norm(one, {block.head_dim}).expand({kGlyphs + kSide * kSide, 1, block.head_dim});
    return kernels::rope(all, rope.cos, rope.sin).squeeze(1).narrow(0, kGlyphs, kSide * kSide);  // (N, head_dim)
  };
  const at::Tensor query = turned(block.to_q.bias)[row * kSide + column];
  const at::Tensor scores = (turned(block.to_k.bias) * query).sum(-1) / std::sqrt(static_cast<double>(block.head_dim));
  return at::softmax(scores, 0).view({kSide, kSide});
}

TEST(PositionalHeads, LookAtTheirNeighbours) {
  DitModel model(find_preset("mini").dit);
  ParameterList list;
  model.list(list);
  init_parameters(list, make_generator(1));
  look_at_neighbours(model);
  const int64_t directions[4][2] = {{-1, 0}, {1, 0}, {0, -1}, {0, 1}};
  for (size_t i = 0; i < model.transformer_blocks.size(); i += 2) {
    const int64_t reach = i == 2 ? 2 : 1;
    for (int64_t head = 0; head < 4; ++head) {
      const int64_t row = 3 + reach * directions[head][0], column = 4 + reach * directions[head][1];
      const at::Tensor weights = gaze(model.transformer_blocks[i], head, 3, 4);
      EXPECT_EQ(at::argmax(weights).item<int64_t>(), row * kSide + column) << "block " << i << ", head " << head;
      EXPECT_GT(weights[row][column].item<double>(), 0.3) << "block " << i << ", head " << head;
    }
  }
  // The blocks between are left to what they learn.
  for (size_t i = 1; i < model.transformer_blocks.size(); i += 2) {
    EXPECT_EQ(model.transformer_blocks[i].to_q.bias.abs().max().item<double>(), 0);
  }
}

TEST(PositionalHeads, FitsSmallHeads) {
  DitModel model(find_preset("tiny").dit);  // two heads of 16: two frequencies a pair of axes have room for
  ParameterList list;
  model.list(list);
  init_parameters(list, make_generator(1));
  look_at_neighbours(model);
  EXPECT_EQ(at::argmax(gaze(model.transformer_blocks[0], 1, 3, 4)).item<int64_t>(), 4 * kSide + 4);
}

TEST(PositionalHeads, AGlyphEncodersAttentionBeginsAnewAndNothingElse) {
  GlyphEncoder glyph(find_preset("tiny").glyph);
  ParameterList list;
  glyph.list(list);
  init_parameters(list, make_generator(1));
  const NamedTensors before = named_tensors(list);
  begin_attention_anew(glyph, make_generator(2));
  for (size_t i = 0; i < list.size(); ++i) {
    const std::string& name = list[i].name;
    const bool scores = name.ends_with(".q.weight") || name.ends_with(".k.weight") || name.ends_with("bias.weight");
    EXPECT_EQ(list[i].tensor->equal(before[i].second), !scores) << name;
  }
  EXPECT_NEAR(glyph.relative_attention_bias.weight.std().item<double>(), 2, 1e-3);
}

}  // namespace
}  // namespace glmimage::train
