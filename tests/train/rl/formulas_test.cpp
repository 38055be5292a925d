#include <ATen/TensorOperators.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "core/rng.h"
#include "train/rl/advantages.h"
#include "train/rl/nft_loss.h"
#include "train/rl/sde.h"
#include "train/rl/sequence_policy.h"
#include "train/stage_helpers.h"

namespace glmimage::train::rl {
namespace {

using testing::DoubleNear;
using testing::Each;
using testing::ElementsAre;

at::Tensor numbers(const std::vector<double>& values) { return at::tensor(values, at::kDouble); }

// The gradient of `f` at x against differences of its values.
void expect_gradient(const std::function<at::Tensor(const at::Tensor&)>& f, const at::Tensor& x) {
  at::Tensor leaf = x.clone().requires_grad_(true);
  f(leaf).backward();
  constexpr double kStep = 1e-5;
  for (int64_t i = 0; i < x.numel(); ++i) {
    at::Tensor up = x.clone(), down = x.clone();
    up.view(-1)[i] += kStep;
    down.view(-1)[i] -= kStep;
    const double slope = (f(up).item<double>() - f(down).item<double>()) / (2 * kStep);
    EXPECT_NEAR(leaf.grad().view(-1)[i].item<double>(), slope, 1e-6 * std::max(1.0, std::abs(slope))) << i;
  }
}

// Two groups of two: (0, 1) with mean ½ and standard deviation √½, and (½, ½).
TEST(Advantages, FollowTheirRule) {
  const std::vector<double> rewards = {0, 1, 0.5, 0.5};
  const double over_all = std::sqrt(0.125);
  const auto values = [&](AdvantageNorm norm, double limit = 5) {
    return make_advantages(rewards, {.norm = norm, .group = 2, .limit = limit}).values;
  };
  const auto near = [](double value) { return DoubleNear(value, 1e-6); };
  EXPECT_THAT(values(AdvantageNorm::group_mean), ElementsAre(-0.5, 0.5, 0, 0));
  EXPECT_THAT(values(AdvantageNorm::group_std), ElementsAre(near(-std::sqrt(0.5)), near(std::sqrt(0.5)), 0, 0));
  EXPECT_THAT(values(AdvantageNorm::rollout_std), ElementsAre(near(-0.5 / over_all), near(0.5 / over_all), 0, 0));
  EXPECT_THAT(values(AdvantageNorm::rollout_std, 0.3), ElementsAre(-0.3, 0.3, 0, 0));
  const RewardSpread spread = make_advantages(rewards, {.norm = {}, .group = 2}).spread;
  EXPECT_NEAR(spread.std, over_all, 1e-12);
  EXPECT_NEAR(spread.group_std, std::sqrt(0.5) / 2, 1e-12);
  EXPECT_EQ(spread.zero_share, 0.5);
  // Equal rewards whose mean is rounded are equal all the same.
  EXPECT_THAT(make_advantages({0.1, 0.1, 0.1}, {.norm = AdvantageNorm::group_std, .group = 3}).values, Each(0.0));
  EXPECT_THAT(message_of([&] { make_advantages(rewards, {.norm = {}, .group = 3}); }, ErrorKind::internal),
              testing::HasSubstr("no whole groups of 3"));
}

TEST(ClippedObjective, IsThePessimisticOne) {
  const at::Tensor ratio = numbers({1.3, 1.3, 0.7, 0.7, 1.1}).requires_grad_(true);
  const Clipped clipped = clipped_objective(ratio, numbers({1, -1, 1, -1, 2}), 0.2);
  const std::vector<double> expected = {-1.2, 1.3, -0.7, 0.8, -2.2};
  for (int64_t i = 0; i < 5; ++i) EXPECT_NEAR(clipped.loss[i].item<double>(), expected[static_cast<size_t>(i)], 1e-12);
  EXPECT_NEAR(clipped.share, 0.4, 1e-12);
  clipped.loss.sum().backward();
  const std::vector<double> slopes = {0, 1, -1, 0, -2};
  for (int64_t i = 0; i < 5; ++i) EXPECT_EQ(ratio.grad()[i].item<double>(), slopes[static_cast<size_t>(i)]) << i;
}

TEST(OnPolicy, MeansARatioOfExactlyOne) {
  expect_on_policy(numbers({1, 1}));
  EXPECT_THAT(message_of(
                  [] {
                    expect_on_policy(numbers({1, 1 + 1e-9}));
                  },
                  ErrorKind::internal),
              testing::HasSubstr("must be exactly 1"));
  EXPECT_THAT(message_of(
                  [] {
                    expect_on_policy(numbers({1, NAN}));
                  },
                  ErrorKind::internal),
              testing::HasSubstr("must be exactly 1"));
}

NftInput nft_input(const at::Tensor& velocity, const at::Tensor& old, const std::vector<double>& optimality) {
  return {.velocity = velocity,
          .old = old,
          .target = at::randn({2, 3}, make_generator(9), at::kDouble),
          .sigmas = numbers({0.25, 0.8}),
          .optimality = numbers(optimality)};
}

// v = 3, v_o = 1, target 0, β = ½: v+ = 2, v- = 0.
TEST(NftLoss, IsTheMixturesErrors) {
  const NftInput input{.velocity = numbers({3}).view({1, 1}),
                       .old = numbers({1}).view({1, 1}),
                       .target = numbers({0}).view({1, 1}),
                       .sigmas = numbers({0.5}),
                       .optimality = numbers({0.75})};
  EXPECT_NEAR(nft_loss(input, 0.5, NftWeighting::none).item<double>(), 0.75 * 4 / 0.5, 1e-12);
  // The error of x0 is σ·2 = 1: its square over its size.
  EXPECT_NEAR(nft_loss(input, 0.5, NftWeighting::adaptive).item<double>(), 0.75 * 1 / 0.5, 1e-12);
  EXPECT_EQ(optimality_of(numbers({-7}), 5).item<double>(), 0);
  EXPECT_EQ(optimality_of(numbers({0}), 5).item<double>(), 0.5);
  EXPECT_EQ(optimality_of(numbers({2.5}), 5).item<double>(), 0.75);
}

TEST(NftLoss, HasNoGradientWhereNothingIsToBeLearned) {
  const at::Tensor old = at::randn({2, 3}, make_generator(1), at::kDouble);
  for (const NftWeighting weighting : {NftWeighting::none, NftWeighting::adaptive}) {
    at::Tensor velocity = old.clone().requires_grad_(true);
    nft_loss(nft_input(velocity, old, {0.5, 0.5}), 0.7, weighting).backward();
    EXPECT_LT(velocity.grad().abs().max().item<double>(), 1e-15);
  }
  // A good picture's target is moved towards, a bad one's away from.
  at::Tensor velocity = old.clone().requires_grad_(true);
  const NftInput input = nft_input(velocity, old, {1, 0});
  nft_loss(input, 1, NftWeighting::none).backward();
  const at::Tensor towards = ((input.target - old) * -velocity.grad()).sum(1);
  EXPECT_GT(towards[0].item<double>(), 0);
  EXPECT_LT(towards[1].item<double>(), 0);
}

TEST(NftLoss, GradientIsThatOfItsValues) {
  const at::Tensor old = at::randn({2, 3}, make_generator(1), at::kDouble);
  expect_gradient(
      [&](const at::Tensor& v) {
        return nft_loss(nft_input(v, old, {0.9, 0.2}), 0.7, NftWeighting::none);
      },
      at::randn({2, 3}, make_generator(2), at::kDouble));
}

// σ = 0.8 -> 0.5, a = 0.7: s = 0.7·√(0.8 / 0.2) = 1.4, dt = -0.3, s·√0.3 = 0.76681…
TEST(Sde, StepsAsFlowGrpoHasThem) {
  glmimage::Schedule schedule{at::tensor({1.0, 0.8, 0.5, 0.0}, at::kFloat), at::zeros({3})};
  const SdeStep step = sde_step(schedule, 1, 0.7);
  EXPECT_NEAR(step.s, 1.4, 1e-6);
  EXPECT_NEAR(step.deviation(), 0.766812, 1e-6);
  const at::Tensor x = numbers({2}).view({1, 1}), v = numbers({-1}).view({1, 1});
  // 2·(1 + 1.96/1.6·(-0.3)) + (-1)·(1 + 1.96·0.2/1.6)·(-0.3) = 1.265 + 0.3735
  EXPECT_NEAR(sde_mean(step, x, v).item<double>(), 1.6385, 1e-6);
  // -(0.5)²/(2·0.588) - ln 0.766812 - ½ ln 2π
  const at::Tensor mean = numbers({1.5}).view({1, 1});
  EXPECT_NEAR(log_probability(step, x, mean).item<double>(), -0.212585 + 0.265513 - 0.918939, 1e-5);
  // At σ = 1 the second σ stands below the line: 0.7·√(1 / 0.2).
  EXPECT_NEAR(sde_step(schedule, 0, 0.7).s, 0.7 * std::sqrt(5), 1e-5);
  // Without noise a step is Euler's.
  const SdeStep still = sde_step(schedule, 1, 0);
  EXPECT_NEAR(sde_mean(still, x, v).item<double>(), 2 + (-1) * (-0.3), 1e-6);
}

// What is added to the mean has the noise level of the next step: the marginals are those of the plain steps.
TEST(Sde, KeepsTheMarginals) {
  glmimage::Schedule schedule{at::tensor({1.0, 0.6, 0.599, 0.0}, at::kFloat), at::zeros({3})};
  const SdeStep step = sde_step(schedule, 1, 0.7);  // a small step: the discretisation is exact to first order
  constexpr int64_t kCount = 200000;
  const at::Tensor x0 = at::zeros({kCount, 1}, at::kDouble);
  const at::Tensor noise = at::randn({kCount, 1}, make_generator(3), at::kDouble);
  const at::Tensor reached = sde_mean(step, step.sigma * noise, noise - x0) +
                             step.deviation() * at::randn({kCount, 1}, make_generator(4), at::kDouble);
  EXPECT_NEAR(reached.std().item<double>() / step.next, 1, 0.005);
}

TEST(Sde, GradientOfTheRatioIsThatOfItsValues) {
  glmimage::Schedule schedule{at::tensor({1.0, 0.8, 0.5, 0.0}, at::kFloat), at::zeros({3})};
  const SdeStep step = sde_step(schedule, 1, 0.7);
  const at::Tensor x = at::randn({2, 4}, make_generator(5), at::kDouble);
  const at::Tensor reached = at::randn({2, 4}, make_generator(6), at::kDouble);
  expect_gradient([&](const at::Tensor& v) { return log_probability(step, reached, sde_mean(step, x, v)).exp().sum(); },
                  at::randn({2, 4}, make_generator(7), at::kDouble));
}

TEST(Window, FollowsItsPolicy) {
  const auto firsts = [](SdeWindow policy) {
    const FlowGrpoSettings settings{.window = policy, .window_steps = 3, .window_every = 2, .window_stride = 2};
    std::vector<int64_t> out;
    for (int64_t rollout = 0; rollout < 10; ++rollout) {
      const StepWindow window = window_of(settings, 8, rollout, 1);
      EXPECT_EQ(window.last - window.first, policy == SdeWindow::all ? 8 : 3);
      EXPECT_LE(window.last, 8);
      out.push_back(window.first);
    }
    return out;
  };
  EXPECT_THAT(firsts(SdeWindow::all), Each(0));
  EXPECT_THAT(firsts(SdeWindow::fixed), Each(0));
  EXPECT_THAT(firsts(SdeWindow::sliding), ElementsAre(0, 0, 2, 2, 4, 4, 0, 0, 2, 2));
  const std::vector<int64_t> random = firsts(SdeWindow::random);
  EXPECT_GT(std::set<int64_t>(random.begin(), random.end()).size(), 2U);
  EXPECT_EQ(random, firsts(SdeWindow::random));
}

TEST(Divergence, IsZeroAtTheReferenceAndPositiveElsewhere) {
  const at::Tensor reference = numbers({-1, -2});
  EXPECT_EQ(divergence(reference, reference).item<double>(), 0);
  // Δ = 1 and -1: (e - 2 + 1/e) / 2
  EXPECT_NEAR(divergence(numbers({-2, -1}), reference).item<double>(), (std::exp(1) - 2 + std::exp(-1)) / 2, 1e-12);
  expect_gradient([&](const at::Tensor& log_p) { return divergence(log_p, reference); }, numbers({-1.5, -0.3}));
}

}  // namespace
}  // namespace glmimage::train::rl
