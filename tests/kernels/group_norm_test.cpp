#include "kernels/group_norm.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/group_norm.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <functional>
#include <limits>
#include <vector>

#include "core/rng.h"
#include "support/goldens.h"

namespace glmimage::kernels {
namespace {

using test::relative_error;

constexpr double kEps = 1e-6;

at::Tensor drawn(at::IntArrayRef shape, uint64_t seed) { return at::randn(shape, make_generator(seed), at::kFloat); }

at::Tensor norm_silu(const at::Tensor& x, int64_t groups, const at::Tensor& weight, const at::Tensor& bias) {
  return scaled_silu(x, group_norm_factors(x, groups, weight, bias, kEps));
}

// Pictures as they lie in memory: each layout, rows of larger ones, and one that has no rows at all.
const std::vector<std::function<at::Tensor(const at::Tensor&)>> kViews = {
    [](const at::Tensor& x) { return x.contiguous(); },
    [](const at::Tensor& x) { return x.contiguous(at::MemoryFormat::ChannelsLast); },
    [](const at::Tensor& x) {
      return at::cat({x, x, x}, 2).narrow(2, x.size(2), x.size(2));
    },
    [](const at::Tensor& x) {
      return at::cat({x, x, x}, 2).contiguous(at::MemoryFormat::ChannelsLast).narrow(2, x.size(2), x.size(2));
    },
    [](const at::Tensor& x) {
      return at::cat({x, x}, 3).narrow(3, 0, x.size(3));
    },
    [](const at::Tensor& x) { return x.transpose(2, 3).contiguous().transpose(2, 3); },
};

// (B, C, H, W), groups: odd, one pixel, a channel a group, one group, enough for several threads.
const std::vector<std::pair<std::vector<int64_t>, int64_t>> kSizes = {
    {{2, 6, 3, 5}, 3}, {{3, 4, 1, 1}, 2}, {{1, 5, 4, 1}, 5}, {{2, 1, 1, 7}, 1}, {{2, 64, 40, 33}, 8}};

TEST(GroupNorm, TwinsEqualTheDefinition) {
  const int threads = at::get_num_threads();
  for (const auto& [sizes, groups] : kSizes) {
    const at::Tensor x = 2 * drawn(sizes, 1) + 3, weight = 1 + drawn({sizes[1]}, 2), bias = drawn({sizes[1]}, 3);
    const at::Tensor truth =
        at::silu(at::group_norm(x.to(at::kDouble), groups, weight.to(at::kDouble), bias.to(at::kDouble), kEps));
    for (size_t i = 0; i < kViews.size(); ++i) {
      const at::Tensor view = kViews[i](x);
      for (const int count : {1, 3}) {
        at::set_num_threads(count);
        const at::Tensor y = norm_silu(view, groups, weight, bias);
        EXPECT_LT(relative_error(y, truth), 1e-6) << view.sizes() << " view " << i;
        EXPECT_TRUE(y.is_contiguous(view.suggest_memory_format())) << view.sizes() << " view " << i;
        const at::Tensor few = norm_silu(view.to(at::kBFloat16), groups, weight, bias.to(at::kBFloat16));
        EXPECT_EQ(few.scalar_type(), at::kBFloat16);
        EXPECT_LT(relative_error(few.to(at::kFloat), truth), 1e-2) << view.sizes() << " view " << i;
        // Statistics and values in float32, one rounding: what comes of the very bfloat16 numbers, to half a unit.
        const at::Tensor wide =
            norm_silu(view.to(at::kBFloat16).to(at::kFloat), groups, weight, bias.to(at::kBFloat16));
        EXPECT_LE(((few.to(at::kFloat) - wide).abs() - 0.00391 * wide.abs()).max().item<double>(), 1e-30);
      }
    }
  }
  at::set_num_threads(threads);
}

TEST(GroupNorm, CompositionEqualsTheDefinition) {
  const auto [sizes, groups] = kSizes[0];
  const at::Tensor x = drawn(sizes, 1).to(at::kDouble), weight = drawn({6}, 2).to(at::kDouble);
  const at::Tensor bias = drawn({6}, 3).to(at::kDouble);
  const at::Tensor truth = at::silu(at::group_norm(x, groups, weight, bias, kEps));
  for (const auto& view : kViews) EXPECT_LT(relative_error(norm_silu(view(x), groups, weight, bias), truth), 1e-12);
}

// The statistics of the whole do for its rows.
TEST(GroupNorm, RowsEqualTheWhole) {
  const at::Tensor x = drawn({2, 8, 9, 6}, 1), weight = drawn({8}, 2), bias = drawn({8}, 3);
  for (const auto& view : kViews) {
    const at::Tensor picture = view(x), factors = group_norm_factors(picture, 4, weight, bias, kEps);
    const at::Tensor rows = scaled_silu(picture.narrow(2, 3, 4), factors);
    EXPECT_TRUE(rows.equal(scaled_silu(picture, factors).narrow(2, 3, 4)));
  }
}

// A mean far above the deviation, where float32 sums of squares would leave nothing of the variance.
TEST(GroupNorm, FarMeansKeepTheirDeviation) {
  const at::Tensor x = 300 + 0.25 * drawn({1, 4, 64, 64}, 1), one = at::full({4}, 1.0, at::kFloat), none = one * 0;
  const at::Tensor factors = group_norm_factors(x.contiguous(at::MemoryFormat::ChannelsLast), 1, one, none, kEps);
  const at::Tensor wide = x.to(at::kDouble);
  EXPECT_NEAR(factors[0][0][0].item<double>() * wide.std(/*unbiased=*/false).item<double>(), 1, 1e-5);
  EXPECT_TRUE(
      scaled_silu(at::full({1, 4, 2, 2}, std::numeric_limits<float>::quiet_NaN()), factors).isnan().all().item<bool>());
  // Equal values everywhere: no variance, and nothing but the bias is left.
  const at::Tensor flat = group_norm_factors(at::full({1, 4, 3, 3}, 0.1F), 2, one, none, kEps);
  EXPECT_LT((0.1F * flat[0] + flat[1]).abs().max().item<double>(), 1e-4);
}

TEST(GroupNorm, HasAGradient) {
  const at::Tensor x = drawn({2, 6, 3, 5}, 1).requires_grad_(true), weight = drawn({6}, 2).requires_grad_(true);
  const at::Tensor bias = drawn({6}, 3).requires_grad_(true), by = drawn({2, 6, 3, 5}, 4);
  const auto gradients = [&](const at::Tensor& y) { return torch::autograd::grad({y}, {x, weight, bias}, {by}); };
  const auto got = gradients(norm_silu(x, 3, weight, bias));
  const auto expected = gradients(at::silu(at::group_norm(x, 3, weight, bias, kEps)));
  for (size_t i = 0; i < 3; ++i) EXPECT_LT(relative_error(got[i], expected[i]), 1e-5) << i;
}

TEST(GroupNorm, RefusesWhatDoesNotFit) {
  const at::Tensor x = drawn({2, 6, 3, 5}, 1), six = drawn({6}, 2);
  EXPECT_THROW(group_norm_factors(x, 4, six, six, kEps), c10::Error);
  EXPECT_THROW(group_norm_factors(x, 3, drawn({5}, 2), six, kEps), c10::Error);
  EXPECT_THROW(scaled_silu(x, drawn({2, 2, 5}, 3)), c10::Error);
}

}  // namespace
}  // namespace glmimage::kernels
