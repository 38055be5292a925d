#include "train/stages/positional_heads.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/std.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <initializer_list>
#include <utility>
#include <vector>

namespace glmimage::train {
namespace {

struct Offset {
  double down, right;  // tokens
};

constexpr int64_t kRows = 0, kColumns = 1;  // axes of the rotary embedding

// The bias of one head, (head_dim), for queries (offset 0) and for keys seen `offset` away. Turned by the rotary
// embedding, the product of the two is greatest where key − query = offset: pair j of an axis adds
// share_j · cos(frequency_j · (distance − offset)), and three fast frequencies make one narrow peak within 16 tokens.
std::vector<float> head_bias(int64_t head_dim, Offset offset, std::initializer_list<int64_t> axes = {kRows, kColumns}) {
  constexpr double kStrength = 2.5;  // against projections of about 1
  constexpr std::array<double, 3> kShares = {0.5, 0.35, 0.15};
  const int64_t pairs = head_dim / 4;  // of one axis
  std::vector<float> bias(static_cast<size_t>(head_dim), 0.0F);
  for (const int64_t axis : axes) {
    const double distance = axis == kRows ? offset.down : offset.right;
    for (int64_t j = 0; j < std::min<int64_t>(pairs, kShares.size()); ++j) {
      const double frequency = std::pow(10000.0, -static_cast<double>(j) / static_cast<double>(pairs));
      const double size = kStrength * std::sqrt(kShares[static_cast<size_t>(j)] * static_cast<double>(head_dim) / 2);
      const auto first = static_cast<size_t>(axis * pairs + j), second = first + static_cast<size_t>(head_dim / 2);
      // Signs take turns, so that the norm's mean stays near zero.
      const double sign = (j + axis) % 2 == 0 ? 1 : -1;
      bias[first] = static_cast<float>(sign * size * std::cos(-frequency * distance));
      bias[second] = static_cast<float>(sign * size * std::sin(-frequency * distance));
    }
  }
  return bias;
}

void set_head(at::Tensor bias, int64_t head, const std::vector<float>& values) {
  const auto width = static_cast<int64_t>(values.size());
  float* data = bias.mutable_data_ptr<float>() + head * width;
  std::copy(values.begin(), values.end(), data);
}

void spread_biases(GlyphEncoder& glyph) {
  constexpr double kSpread = 2;  // of scores; those of the projections begin near 1
  at::Tensor& bias = glyph.relative_attention_bias.weight;
  bias.mul_(kSpread / bias.std());
}

}  // namespace

void look_at_neighbours(DitModel& model) {
  at::NoGradGuard no_grad;
  constexpr std::array<Offset, 4> kDirections = {{{-1, 0}, {1, 0}, {0, -1}, {0, 1}}};
  for (size_t i = 0; i < model.transformer_blocks.size(); i += 2) {
    DitBlock& block = model.transformer_blocks[i];
    const double reach = i % 4 == 2 ? 2 : 1;
    for (int64_t head = 0; head < block.heads; ++head) {
      const Offset direction = kDirections[static_cast<size_t>(head) % kDirections.size()];
      set_head(block.to_q.bias, head, head_bias(block.head_dim, {0, 0}));
      set_head(block.to_k.bias, head, head_bias(block.head_dim, {reach * direction.down, reach * direction.right}));
    }
  }
}

void read_in_columns(DitModel& model, GlyphEncoder& glyph) {
  at::NoGradGuard no_grad;
  for (size_t i = 1; i < model.transformer_blocks.size(); i += 2) {
    DitBlock& block = model.transformer_blocks[i];
    for (int64_t head = 0; head < block.heads / 2; ++head) {
      set_head(block.to_q.bias, head, head_bias(block.head_dim, {0, 0}, {kColumns}));
    }
  }
  spread_biases(glyph);
}

void begin_attention_anew(GlyphEncoder& glyph, at::Generator generator) {
  at::NoGradGuard no_grad;
  ParameterList all, attention;
  glyph.list(all);
  for (const Parameter& p : all) {
    const bool scores = p.name.ends_with("SelfAttention.q.weight") || p.name.ends_with("SelfAttention.k.weight") ||
                        p.name.ends_with("relative_attention_bias.weight");
    if (scores) attention.push_back(p);
  }
  init_parameters(attention, std::move(generator));
  spread_biases(glyph);
}

}  // namespace glmimage::train
