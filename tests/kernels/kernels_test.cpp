#include <ATen/TensorOperators.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>

#include "core/rng.h"
#include "kernels/attention.h"
#include "kernels/rms_norm.h"
#include "kernels/rope.h"
#include "support/goldens.h"

// Each kernel against its definition, written out in double.
namespace glmimage::kernels {
namespace {

using test::relative_error;

at::Tensor drawn(at::IntArrayRef shape, uint64_t seed) { return at::randn(shape, make_generator(seed), at::kFloat); }

TEST(RmsNorm, IsItsDefinition) {
  const at::Tensor x = drawn({2, 5, 24}, 1), weight = drawn({24}, 2), wide = x.to(at::kDouble);
  const at::Tensor expected = wide / (wide.square().mean(at::IntArrayRef{-1}, true) + 1e-5).sqrt() * weight;
  EXPECT_LT(relative_error(rms_norm(x, weight, 1e-5), expected), 1e-6);
}

TEST(RmsNorm, OfHalfTypesIsTakenInFloat32) {
  // The squares of these overflow float16.
  const at::Tensor x = (drawn({3, 16}, 1) * 300).to(at::kHalf), weight = at::ones({16}, at::kHalf);
  const at::Tensor out = rms_norm(x, weight, 1e-6);
  EXPECT_EQ(out.scalar_type(), at::kHalf);
  EXPECT_LT(relative_error(out, rms_norm(x.to(at::kFloat), weight.to(at::kFloat), 1e-6)), 1e-3);
}

TEST(RmsNorm, OfZerosIsZero) {
  EXPECT_EQ(rms_norm(at::ones({1, 8}) * 0, at::ones({8}), 1e-6).abs().max().item<float>(), 0);
}

// The pair (i, i + R/2) is a complex number turned by its angle.
TEST(Rope, TurnsPairs) {
  const int64_t rotary = 8, width = 12;
  const at::Tensor x = drawn({1, 3, 2, width}, 1), angle = drawn({3, 1, rotary / 2}, 2);
  const at::Tensor out = rope(x, angle.cos(), angle.sin());
  for (int64_t t = 0; t < 3; ++t) {
    for (int64_t i = 0; i < rotary / 2; ++i) {
      const double a = angle[t][0][i].item<double>();
      for (int64_t h = 0; h < 2; ++h) {
        const double re = x[0][t][h][i].item<double>(), im = x[0][t][h][i + rotary / 2].item<double>();
        EXPECT_NEAR(out[0][t][h][i].item<double>(), re * std::cos(a) - im * std::sin(a), 1e-6);
        EXPECT_NEAR(out[0][t][h][i + rotary / 2].item<double>(), re * std::sin(a) + im * std::cos(a), 1e-6);
      }
    }
  }
  EXPECT_TRUE(out.narrow(-1, rotary, width - rotary).equal(x.narrow(-1, rotary, width - rotary)));
}

TEST(Rope, ScoresDependOnDistanceAlone) {
  const at::Tensor q = drawn({1, 1, 1, 8}, 1), k = drawn({1, 1, 1, 8}, 2),
                   speeds = at::tensor({1.0F, 0.3F, 0.1F, 0.03F});
  const auto score = [&](double at_q, double at_k) {
    const at::Tensor a = speeds * at_q, b = speeds * at_k;
    return (rope(q, a.cos(), a.sin()) * rope(k, b.cos(), b.sin())).sum().item<double>();
  };
  EXPECT_NEAR(score(7, 3), score(104, 100), 1e-4);
  EXPECT_GT(std::abs(score(7, 3) - score(7, 4)), 1e-3);
}

at::Tensor attention_by_definition(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, double scale,
                                   const at::Tensor& bias) {
  const int64_t share = q.size(1) / k.size(1);
  std::vector<at::Tensor> heads;
  for (int64_t h = 0; h < q.size(1); ++h) {
    const at::Tensor scores =
        at::matmul(q.select(1, h).to(at::kDouble), k.select(1, h / share).to(at::kDouble).transpose(-1, -2)) * scale;
    heads.push_back(at::matmul(at::softmax(scores + bias, -1), v.select(1, h / share).to(at::kDouble)));
  }
  return at::stack(heads, 1);
}

TEST(Attention, GroupsAreSharedInOrder) {
  const at::Tensor q = drawn({2, 6, 5, 8}, 1), k = drawn({2, 2, 7, 8}, 2), v = drawn({2, 2, 7, 8}, 3);
  const at::Tensor none = at::zeros({5, 7}, at::kDouble);
  EXPECT_LT(relative_error(attention(q, k, v), attention_by_definition(q, k, v, 1 / std::sqrt(8.0), none)), 1e-5);
  EXPECT_LT(relative_error(attention(q, k, v, {.scale = 0.7, .bias = {}}), attention_by_definition(q, k, v, 0.7, none)),
            1e-5);
}

TEST(Attention, MasksAndBiases) {
  const at::Tensor q = drawn({1, 4, 6, 8}, 1), k = drawn({1, 4, 6, 8}, 2), v = drawn({1, 4, 6, 8}, 3);
  const double scale = 1 / std::sqrt(8.0);
  const at::Tensor causal = (1 - at::ones({6, 6}, at::kDouble).tril()) * -1e30;
  EXPECT_LT(relative_error(attention(q, k, v, {.mask = Mask::causal, .scale = {}, .bias = {}}),
                           attention_by_definition(q, k, v, scale, causal)),
            1e-5);
  const at::Tensor bias = drawn({6, 6}, 4);
  EXPECT_LT(
      relative_error(attention(q, k, v, {.scale = {}, .bias = bias}), attention_by_definition(q, k, v, scale, bias)),
      1e-5);
}

TEST(Kernels, CarryGradients) {
  const at::Tensor x = drawn({1, 2, 4, 8}, 1).requires_grad_(true), weight = at::ones({8}).requires_grad_(true);
  const at::Tensor angle = drawn({4, 4}, 2), turned = rope(rms_norm(x, weight, 1e-6), angle.cos(), angle.sin());
  attention(turned, turned, turned, {.mask = Mask::causal, .scale = {}, .bias = {}}).square().sum().backward();
  EXPECT_GT(x.grad().abs().sum().item<double>(), 0);
  EXPECT_GT(weight.grad().abs().sum().item<double>(), 0);
}

}  // namespace
}  // namespace glmimage::kernels
