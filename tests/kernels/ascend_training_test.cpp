// Attention with gradients by npu_fusion_attention, played by the emulated device: it equals the composition of the
// same values in float64, forward and backward, in every layout, with every mask.
#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "core/rng.h"
#include "kernels/attention.h"
#include "support/emulated_npu.h"
#include "support/goldens.h"

namespace glmimage::kernels {
namespace {

using Tensors = std::vector<at::Tensor>;

at::Tensor drawn(at::IntArrayRef shape, uint64_t seed) { return at::randn(shape, make_generator(seed), at::kFloat); }

enum class Layout { heads_outside, heads_inside, joined };

struct Case {
  std::string name;
  int64_t heads = 4, kv_heads = 4, queries = 6, keys = 6, width = 16;
  Layout layout = Layout::heads_outside;
  AttentionOptions options = {};
  at::ScalarType type = at::kFloat;
};

constexpr int64_t kBatch = 2;

// Projections (B, T, heads · D) as a layer makes them, in the case's layout: leaves, and q, k, v as attention takes
// them.
struct Inputs {
  Tensors leaves;
  at::Tensor q, k, v;
};

Inputs inputs(const Case& c, at::Device device, at::ScalarType type) {
  const auto leaf = [&](at::IntArrayRef shape, uint64_t seed) {
    return drawn(shape, seed).to(c.type).to(device, type).requires_grad_(true);
  };
  if (c.layout == Layout::joined) {  // one product for all three, cut in pieces
    const at::Tensor all = leaf({kBatch, c.queries, c.heads + 2 * c.kv_heads, c.width}, 1);
    const auto part = [&](int64_t first, int64_t count) { return all.narrow(2, first, count).transpose(1, 2); };
    return {{all}, part(0, c.heads), part(c.heads, c.kv_heads), part(c.heads + c.kv_heads, c.kv_heads)};
  }
  const bool inside = c.layout == Layout::heads_inside;
  Tensors leaves, turned;
  for (uint64_t i = 0; i < 3; ++i) {
    const int64_t heads = i == 0 ? c.heads : c.kv_heads, tokens = i == 0 ? c.queries : c.keys;
    leaves.push_back(inside ? leaf({kBatch, tokens, heads, c.width}, i) : leaf({kBatch, heads, tokens, c.width}, i));
    turned.push_back(inside ? leaves[i].transpose(1, 2) : leaves[i]);
  }
  return {leaves, turned[0], turned[1], turned[2]};
}

class AscendTraining : public ::testing::Test {
 protected:
  void SetUp() override { npu.offer_operators(true); }
  void TearDown() override { npu.offer_operators(false); }

  // The result, then the gradient of each leaf.
  Tensors run(const Case& c, at::Device device, at::ScalarType type) const {
    const Inputs in = inputs(c, device, type);
    AttentionOptions options = c.options;
    if (options.bias) {
      options.bias =
          options.bias->scalar_type() == at::kBool ? options.bias->to(device) : options.bias->to(device, type);
    }
    const at::Tensor y = attention(in.q, in.k, in.v, options);
    Tensors out = torch::autograd::grad({y}, in.leaves, {drawn(y.sizes(), 77).to(device, type)});
    out.insert(out.begin(), y.detach());
    return out;
  }

  void expect_fused(const Case& c, int64_t used = 1) const {
    npu.reset_counts();
    const Tensors got = run(c, npu.device(), c.type);
    EXPECT_EQ(npu.ops("npu::npu_fusion_attention"), used) << c.name;
    EXPECT_EQ(npu.ops("npu::npu_fusion_attention_grad"), used) << c.name;
    const Tensors expected = run(c, at::kCPU, at::kDouble);
    const double tolerance = c.type == at::kFloat ? 5e-6 : c.type == at::kHalf ? 4e-3 : 3e-2;
    for (size_t i = 0; i < got.size(); ++i) {
      EXPECT_LT(test::relative_error(got[i].cpu(), expected[i]), tolerance) << c.name << " " << i;
    }
  }

  const test::EmulatedNpu npu = test::EmulatedNpu::open();
};

TEST_F(AscendTraining, EveryLayoutAndType) {
  for (const Layout layout : {Layout::heads_outside, Layout::heads_inside, Layout::joined}) {
    for (const auto type : {at::kFloat, at::kHalf, at::kBFloat16}) {
      for (const int64_t kv_heads : {4, 2, 1}) {
        expect_fused(
            {.name = "heads " + std::to_string(kv_heads) + ", layout " + std::to_string(static_cast<int>(layout)),
             .kv_heads = kv_heads,
             .layout = layout,
             .type = type});
      }
    }
  }
}

TEST_F(AscendTraining, Causal) {
  for (const Layout layout : {Layout::heads_outside, Layout::heads_inside, Layout::joined}) {
    expect_fused({.name = "causal", .kv_heads = 2, .layout = layout, .options = {.mask = Mask::causal, .scale = 0.3}});
  }
}

TEST_F(AscendTraining, BiasesOfBools) {
  const at::Tensor rows = at::ones({6, 6}, at::kBool).tril();
  at::Tensor keys = at::ones({kBatch, 1, 1, 6}, at::kBool);
  keys[1][0][0][5] = false;
  at::Tensor by_head = at::ones({1, 4, 6, 6}, at::kBool);
  by_head[0][2][3][1] = false;
  for (const at::Tensor& bias : {rows, keys, keys.logical_and(rows), by_head}) {
    expect_fused({.name = "bools", .kv_heads = 2, .layout = Layout::heads_inside, .options = {.bias = bias}});
  }
}

TEST_F(AscendTraining, BiasesOfFloats) {
  const double hidden = -std::numeric_limits<double>::infinity();
  at::Tensor padding = at::zeros({kBatch, 1, 1, 6});
  padding[1][0][0].narrow(0, 4, 2).fill_(hidden);
  at::Tensor left = at::zeros({kBatch, 1, 6, 6}).masked_fill(at::ones({6, 6}, at::kBool).triu(1), hidden);
  left[1][0].narrow(1, 0, 2).fill_(hidden);  // hidden before the tokens
  left[1][0].diagonal().fill_(0);
  const at::Tensor distances = drawn({1, 4, 6, 6}, 9);
  for (const auto type : {at::kFloat, at::kHalf, at::kBFloat16}) {
    for (const at::Tensor& bias : {padding, left, distances}) {
      expect_fused({.name = "floats",
                    .layout = Layout::heads_inside,
                    .options = {.scale = 0.2, .bias = bias.to(type)},
                    .type = type});
    }
  }
}

TEST_F(AscendTraining, TheFirstKeys) {
  expect_fused({.name = "keys", .kv_heads = 2, .keys = 9, .layout = Layout::heads_inside, .options = {.keys = 7}});
}

TEST_F(AscendTraining, WhatDoesNotFitIsComposed) {
  expect_fused({.name = "wide", .queries = 2, .keys = 2, .width = 784}, 0);
  expect_fused({.name = "double", .type = at::kDouble}, 0);
  npu.offer_operators(false);
  expect_fused({.name = "absent", .options = {.mask = Mask::causal}}, 0);
}

// Nobody learns from it: the operator for inference.
TEST_F(AscendTraining, NotInInference) {
  const at::Tensor q = drawn({1, 2, 3, 16}, 1).to(at::kBFloat16).to(npu.device());
  npu.reset_counts();
  attention(q, q, q);
  EXPECT_EQ(npu.ops("npu::npu_fusion_attention"), 0);
  EXPECT_EQ(npu.ops("npu::npu_fused_infer_attention_score"), 1);
}

// A gradient of the bias is asked, which the operator does not give for every shape.
TEST_F(AscendTraining, BiasesThatLearnAreComposed) {
  const at::Tensor q = drawn({1, 2, 3, 16}, 1).to(npu.device()).requires_grad_(true);
  const at::Tensor bias = drawn({1, 2, 3, 3}, 2).to(npu.device()).requires_grad_(true);
  npu.reset_counts();
  attention(q, q, q, {.bias = bias}).sum().backward();
  EXPECT_EQ(npu.ops("npu::npu_fusion_attention"), 0);
  EXPECT_TRUE(bias.grad().defined());
}

}  // namespace
}  // namespace glmimage::kernels
