#include "models/visual_tokenizer/vision_tower.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "kernels/attention.h"

namespace glmimage {
namespace {

// Where one output cell reads along one axis of the table: cells `first` and `second`, with weights that sum to 1.
struct Sample {
  int64_t first, second;
  float first_weight, second_weight;
};

// Cell `index` of `count`, over a table of `side` cells. float32 in grid_sample's own order of operations.
Sample sample_at(int64_t index, int64_t count, int64_t side) {
  const float unit = (static_cast<float>(index) + 0.5f) / static_cast<float>(count) * 2.0f - 1.0f;  // -1..1
  float position = ((unit + 1.0f) * static_cast<float>(side) - 1.0f) / 2.0f;
  position = std::min(static_cast<float>(side - 1), std::max(position, 0.0f));
  const float first = std::floor(position);
  const int64_t cell = static_cast<int64_t>(first);
  // Beyond the last cell the weight is zero.
  return {cell, std::min(cell + 1, side - 1), first + 1.0f - position, position - first};
}

}  // namespace

VisionBlock::VisionBlock(const VisionConfig& config)
    : heads(config.heads),
      init_std(config.initializer_range),
      norm1(config.hidden_size, config.layer_norm_eps),
      norm2(config.hidden_size, config.layer_norm_eps),
      qkv(config.hidden_size, 3 * config.hidden_size, config.attention_bias ? Bias::yes : Bias::none),
      proj(config.hidden_size, config.hidden_size, config.attention_bias ? Bias::yes : Bias::none),
      fc1(config.hidden_size, config.intermediate_size, Bias::yes),
      fc2(config.intermediate_size, config.hidden_size, Bias::yes) {}

void VisionBlock::list(ParameterList& list, const std::string& prefix) {
  norm1.list(list, prefix + ".norm1");
  norm2.list(list, prefix + ".norm2");
  qkv.list(list, prefix + ".attn.qkv", init_std);
  proj.list(list, prefix + ".attn.proj", init_std);
  fc1.list(list, prefix + ".mlp.fc1", init_std);
  fc2.list(list, prefix + ".mlp.fc2", init_std);
}

at::Tensor VisionBlock::attend(const at::Tensor& x) const {
  const int64_t batch = x.size(0), n = x.size(1), width = x.size(2);
  const at::Tensor all = qkv(x).view({batch, n, 3, heads, width / heads}).permute({2, 0, 3, 1, 4});  // (3, B, H, n, D)
  const at::Tensor y = kernels::attention(all[0], all[1], all[2]);                                   // (B, H, n, D)
  return proj(y.transpose(1, 2).reshape({batch, n, width}));
}

at::Tensor VisionBlock::operator()(const at::Tensor& x) const {
  const at::Tensor h = x + attend(norm1(x));
  return h + fc2(at::gelu(fc1(norm2(h))));
}

VisionTower::VisionTower(const VisionConfig& config)
    : config(config),
      patch_embed(VisionConfig::kChannels, config.hidden_size, config.patch_size, config.patch_size),
      position_embedding(config.table_side() * config.table_side(), config.hidden_size) {
  for (int64_t i = 0; i < config.depth; ++i) blocks.emplace_back(config);
}

void VisionTower::list(ParameterList& list, const std::string& prefix) {
  position_embedding.list(list, prefix + ".embeddings.position_embedding", config.initializer_range);
  patch_embed.list(list, prefix + ".patch_embed.proj");
  for (size_t i = 0; i < blocks.size(); ++i) blocks[i].list(list, prefix + ".blocks." + std::to_string(i));
}

at::Tensor VisionTower::embed(const at::Tensor& patches) const {
  return at::linear(patches.to(patch_embed.weight.options()), patch_embed.weight.flatten(1), patch_embed.bias);
}

at::Tensor VisionTower::positions(Grid grid) const {
  const int64_t side = config.table_side();
  // The four corners: both rows of the table times both columns.
  std::array<std::vector<int64_t>, 4> cells;
  std::array<std::vector<float>, 4> weights;
  for (int64_t r = 0; r < grid.height; ++r) {
    const Sample y = sample_at(r, grid.height, side);
    for (int64_t c = 0; c < grid.width; ++c) {
      const Sample x = sample_at(c, grid.width, side);
      const auto corner = [&](size_t i, int64_t row, int64_t column, float weight) {
        cells[i].push_back(row * side + column);
        weights[i].push_back(weight);
      };
      corner(0, y.first, x.first, x.first_weight * y.first_weight);
      corner(1, y.first, x.second, x.second_weight * y.first_weight);
      corner(2, y.second, x.first, x.first_weight * y.second_weight);
      corner(3, y.second, x.second, x.second_weight * y.second_weight);
    }
  }
  const at::Tensor& table = position_embedding.weight;  // (side², E)
  at::Tensor sum;                                       // (n, E) float32
  for (size_t i = 0; i < cells.size(); ++i) {
    const at::Tensor weight = at::tensor(weights[i]).to(table.device()).unsqueeze(1);  // (n, 1)
    const at::Tensor rows = position_embedding(at::tensor(cells[i]).to(table.device())).to(at::kFloat) * weight;
    sum = sum.defined() ? sum + rows : rows;
  }
  return sum.to(table.scalar_type());
}

at::Tensor VisionTower::operator()(const at::Tensor& patches, Grid grid, Activations activations) const {
  at::Tensor x = embed(patches) + positions(grid);  // (B, n, E)
  for (size_t i = 0; i < blocks.size(); ++i) {
    const LayerTurn turn(listener, i);
    const auto run = [&block = blocks[i]](const std::vector<at::Tensor>& in) -> std::vector<at::Tensor> {
      return {block(in[0])};
    };
    x = run_block(activations, run, {x})[0];
    turn.made(x);
  }
  return x;
}

}  // namespace glmimage
