#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <optional>
#include <vector>

#include "core/rng.h"
#include "kernels/attention.h"
#include "kernels/cpu/attention.h"
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

// Tokens beside each other as the models have them, one query block and several, keys that fill no panel, pass or pair,
// large scores; on one thread and on several.
TEST(Attention, OfBfloat16InOnePass) {
  struct Case {
    int64_t batch, heads, kv_heads, queries, keys, width;
    Mask mask;
  };
  int one_pass = 0;
  const c10::InferenceMode without_history;
  for (const Case& c : std::vector<Case>{{1, 2, 2, 70, 1, 64, Mask::none},
                                         {2, 4, 2, 97, 300, 128, Mask::none},
                                         {1, 2, 1, 257, 257, 128, Mask::causal},
                                         {2, 2, 2, 64, 64, 64, Mask::causal},
                                         {1, 1, 1, 101, 513, 192, Mask::none},
                                         {1, 2, 2, 1, 300, 64, Mask::none}}) {
    const auto tokens = [&](int64_t count, int64_t heads, uint64_t seed) {
      return (drawn({c.batch, count, heads, c.width}, seed) * 3).to(at::kBFloat16).transpose(1, 2);
    };
    const at::Tensor q = tokens(c.queries, c.heads, 1), k = tokens(c.keys, c.kv_heads, 2);
    const at::Tensor v = tokens(c.keys, c.kv_heads, 3);
    const at::Tensor hidden = c.mask == Mask::causal ? (1 - at::ones({c.queries, c.keys}, at::kDouble).tril()) * -1e30
                                                     : at::zeros({c.queries, c.keys}, at::kDouble);
    for (const std::optional<double> scale : {std::optional<double>(), std::optional<double>(0.02)}) {
      const AttentionOptions options = {.mask = c.mask, .scale = scale, .bias = {}};
      const double factor = scale.value_or(1 / std::sqrt(static_cast<double>(c.width)));
      const at::Tensor expected = attention_by_definition(q, k, v, factor, hidden);
      const int threads = at::get_num_threads();
      for (const int count : {1, 3}) {
        at::set_num_threads(count);
        const at::Tensor y = attention(q, k, v, options);
        EXPECT_EQ(y.scalar_type(), at::kBFloat16);
        EXPECT_LT(relative_error(y, expected), 0.01) << c.queries << " " << c.keys << " " << c.width;
        one_pass += cpu::can_attend(q, k, v, options) ? 1 : 0;
      }
      at::set_num_threads(threads);
    }
  }
  if (one_pass == 0) GTEST_SKIP() << "LibTorch's own, which passed: this processor has no products of bfloat16, or AMX";
  EXPECT_EQ(one_pass, 20) << "of few queries LibTorch's own";
}

TEST(Attention, OfBfloat16DoesNotHideWhatIsNoNumber) {
  const c10::InferenceMode without_history;
  const at::Tensor q = drawn({1, 1, 40, 64}, 1).to(at::kBFloat16), k = drawn({1, 1, 70, 64}, 2).to(at::kBFloat16);
  q[0][0][7][3] = std::numeric_limits<float>::quiet_NaN();
  const at::Tensor y = attention(q, k, k);
  EXPECT_FALSE(y[0][0][7].isfinite().any().item<bool>());
  EXPECT_TRUE(y[0][0][8].isfinite().all().item<bool>());
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
