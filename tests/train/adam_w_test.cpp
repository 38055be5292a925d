#include "train/optim/adam_w.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <limits>
#include <vector>

#include "core/error.h"
#include "train/stage_helpers.h"

namespace glmimage::train {
namespace {

// A matrix, which decays, and a vector, which does not.
struct Toy {
  explicit Toy(uint64_t seed) {
    at::Generator random = make_generator(seed);
    matrix = at::randn({3, 4}, random, at::kFloat);
    vector = at::randn({5}, random, at::kFloat);
  }
  ParameterList list() {
    return {{"matrix", &matrix, {3, 4}, Init::normal(1)}, {"vector", &vector, {5}, Init::normal(1)}};
  }
  void set_gradients(int64_t step, double scale) {
    at::Generator random = make_generator(1000 + static_cast<uint64_t>(step));
    matrix.mutable_grad() = at::randn({3, 4}, random, at::kFloat) * scale;
    vector.mutable_grad() = at::randn({5}, random, at::kFloat) * scale;
  }
  at::Tensor matrix, vector;
};

std::vector<double> values(const at::Tensor& t) {
  const at::Tensor flat = t.detach().to(at::kDouble).contiguous();
  return {flat.const_data_ptr<double>(), flat.const_data_ptr<double>() + flat.numel()};
}

// The paper's algorithm, one number at a time.
struct PlainAdamW {
  std::vector<double> p, m, v;
  double decay;
  int64_t t = 0;
  PlainAdamW(std::vector<double> start, double weight_decay)
      : p(std::move(start)), m(p.size()), v(p.size()), decay(weight_decay) {}
  void step(const std::vector<double>& grad, double lr, const AdamWOptions& o) {
    ++t;
    const double a = 1 - std::pow(o.beta1, t), b = 1 - std::pow(o.beta2, t);
    for (size_t i = 0; i < p.size(); ++i) {
      p[i] -= lr * decay * p[i];
      m[i] = o.beta1 * m[i] + (1 - o.beta1) * grad[i];
      v[i] = o.beta2 * v[i] + (1 - o.beta2) * grad[i] * grad[i];
      p[i] -= lr * (m[i] / a) / (std::sqrt(v[i] / b) + o.eps);
    }
  }
};

std::vector<double> scaled(std::vector<double> v, double factor) {
  for (double& x : v) x *= factor;
  return v;
}

void expect_near(const at::Tensor& actual, const std::vector<double>& expected) {
  const std::vector<double> got = values(actual);
  ASSERT_EQ(got.size(), expected.size());
  for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], expected[i], 2e-6 * (1 + std::abs(expected[i]))) << i;
}

// Gradients of the first steps are clipped, those of the later ones are not.
TEST(AdamW, FollowsTheFormula) {
  Toy toy(1);
  const AdamWOptions options{.weight_decay = 0.1, .max_grad_norm = 1.0};
  PlainAdamW matrix(values(toy.matrix), 0.1), vector(values(toy.vector), 0.0);
  AdamW optimiser(toy.list(), options);
  for (int64_t step = 0; step < 6; ++step) {
    toy.set_gradients(step, step < 3 ? 2.0 : 0.02);
    const std::vector<double> a = values(toy.matrix.grad()), b = values(toy.vector.grad());
    double squares = 0;
    for (double x : a) squares += x * x;
    for (double x : b) squares += x * x;
    const double norm = std::sqrt(squares), factor = norm > 1 ? 1 / (norm + 1e-6) : 1;
    EXPECT_EQ(norm > 1, step < 3);
    const double lr = 0.01 * static_cast<double>(step + 1);
    const UpdateReport report = optimiser.step(lr);
    EXPECT_NEAR(report.grad_norm, norm, 1e-5 * norm);
    EXPECT_FALSE(report.skipped);
    EXPECT_FALSE(toy.matrix.grad().defined());
    matrix.step(scaled(a, factor), lr, options);
    vector.step(scaled(b, factor), lr, options);
    expect_near(toy.matrix, matrix.p);
    expect_near(toy.vector, vector.p);
  }
}

// Several passes add up their gradients; the scale makes a mean of them before the norm is taken.
TEST(AdamW, ScalesGradientsBeforeClipping) {
  Toy sum(8), mean(8);
  AdamW a(sum.list(), {}), b(mean.list(), {});
  sum.set_gradients(0, 8.0);
  mean.set_gradients(0, 2.0);
  EXPECT_EQ(a.step(0.1, 0.25).grad_norm, b.step(0.1).grad_norm);
  EXPECT_TRUE(at::equal(sum.matrix, mean.matrix));
  EXPECT_TRUE(at::equal(sum.vector, mean.vector));
}

TEST(AdamW, OnlyMatricesDecay) {
  Toy toy(2);
  const std::vector<double> matrix = values(toy.matrix), vector = values(toy.vector);
  AdamW optimiser(toy.list(), {.weight_decay = 0.5});
  toy.set_gradients(0, 0.0);
  optimiser.step(0.1);
  expect_near(toy.matrix, scaled(matrix, 0.95));
  expect_near(toy.vector, vector);
}

TEST(AdamW, NoClippingWhenTheLimitIsZero) {
  Toy clipped(3), free(3);
  AdamW a(clipped.list(), {.eps = 1.0, .weight_decay = 0, .max_grad_norm = 1.0});
  AdamW b(free.list(), {.eps = 1.0, .weight_decay = 0, .max_grad_norm = 0});
  clipped.set_gradients(0, 50.0);
  free.set_gradients(0, 50.0);
  const double norm = a.step(0.1).grad_norm;
  EXPECT_EQ(b.step(0.1).grad_norm, norm);  // reported before clipping
  EXPECT_GT(norm, 50);
  EXPECT_FALSE(at::equal(clipped.matrix, free.matrix));
}

TEST(AdamW, AGradientThatIsNotFiniteChangesNothing) {
  for (const double bad : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    Toy toy(4);
    AdamW optimiser(toy.list(), {});
    toy.set_gradients(0, 0.1);
    optimiser.step(0.01);
    const at::Tensor before = toy.matrix.detach().clone(), vector_before = toy.vector.detach().clone();
    NamedTensors state;
    for (const TensorPiece& piece : optimiser.state()) state.emplace_back(piece.name, piece.values.clone());
    toy.set_gradients(1, 0.1);
    toy.vector.mutable_grad()[2] = bad;
    EXPECT_TRUE(optimiser.step(0.01).skipped);
    EXPECT_TRUE(at::equal(toy.matrix, before));
    EXPECT_TRUE(at::equal(toy.vector, vector_before));
    EXPECT_FALSE(toy.matrix.grad().defined());
    const std::vector<TensorPiece> after = optimiser.state();
    for (size_t i = 0; i < state.size(); ++i)
      EXPECT_TRUE(at::equal(after[i].values, state[i].second)) << state[i].first;
  }
}

TEST(AdamW, AStepWithoutGradientsIsRefused) {
  Toy toy(5);
  AdamW optimiser(toy.list(), {});
  EXPECT_THROW(optimiser.step(0.01), Error);
}

TEST(AdamW, ASavedStateGoesOnBitForBit) {
  const std::filesystem::path file = fresh_folder("optimiser") / "adam_w_state.safetensors";
  Toy straight(6), resumed(7);
  AdamW a(straight.list(), {});
  for (int64_t step = 0; step < 3; ++step) {
    straight.set_gradients(step, 0.3);
    a.step(0.01);
  }
  std::filesystem::create_directories(file.parent_path());
  write_whole(file.parent_path(), file.stem(), a.state());
  AdamW b(resumed.list(), {});
  {
    at::NoGradGuard no_grad;
    resumed.matrix.copy_(straight.matrix);
    resumed.vector.copy_(straight.vector);
  }
  b.load_state(SavedTensors::open(file.parent_path(), file.stem()));
  for (int64_t step = 3; step < 6; ++step) {
    straight.set_gradients(step, 0.3);
    resumed.set_gradients(step, 0.3);
    a.step(0.01);
    b.step(0.01);
  }
  EXPECT_TRUE(at::equal(straight.matrix, resumed.matrix));
  EXPECT_TRUE(at::equal(straight.vector, resumed.vector));
}

TEST(WarmupCosine, RisesThenFallsToTheFloor) {
  EXPECT_DOUBLE_EQ(warmup_cosine(0, 100, 10, 2.0), 0.2);
  EXPECT_DOUBLE_EQ(warmup_cosine(9, 100, 10, 2.0), 2.0);
  EXPECT_DOUBLE_EQ(warmup_cosine(10, 100, 10, 2.0), 2.0);
  EXPECT_NEAR(warmup_cosine(55, 100, 10, 2.0), 2.0 * 0.51, 1e-12);  // half of the way: midway between peak and floor
  EXPECT_NEAR(warmup_cosine(100, 100, 10, 2.0), 0.04, 1e-12);
  EXPECT_NEAR(warmup_cosine(500, 100, 10, 2.0), 0.04, 1e-12);  // and stays there
  EXPECT_DOUBLE_EQ(warmup_cosine(0, 100, 0, 2.0), 2.0);        // no warm-up
  EXPECT_GT(warmup_cosine(5, 3, 10, 2.0), 0);                  // a run shorter than its warm-up
  for (int64_t step = 11; step < 100; ++step)
    EXPECT_LT(warmup_cosine(step, 100, 10, 2.0), warmup_cosine(step - 1, 100, 10, 2.0));
}

TEST(WarmupConstant, RisesAndStays) {
  EXPECT_DOUBLE_EQ(warmup_constant(0, 10, 2.0), 0.2);
  EXPECT_DOUBLE_EQ(warmup_constant(9, 10, 2.0), 2.0);
  EXPECT_DOUBLE_EQ(warmup_constant(100000, 10, 2.0), 2.0);
  EXPECT_DOUBLE_EQ(warmup_constant(0, 0, 2.0), 2.0);
}

TEST(Ema, FollowsTheFormulaAndRampsUp) {
  at::NoGradGuard no_grad;  // the parameter is one that learns
  at::Tensor value = at::full({2}, 1.0, at::kFloat);
  Ema ema(ParameterList{{"value", &value, {2}, Init::ones()}}, 0.9);
  double shadow = 1.0;
  for (int64_t step = 0; step < 200; ++step) {
    value.fill_(static_cast<double>(step));
    ema.update(step);
    const double decay = std::min(0.9, (1.0 + static_cast<double>(step)) / (10.0 + static_cast<double>(step)));
    shadow = decay * shadow + (1 - decay) * static_cast<double>(step);
    EXPECT_NEAR(ema.state()[0].values[0].item<double>(), shadow, 1e-4 * (1 + shadow));
  }
  EXPECT_EQ(value[0].item<double>(), 199.0);  // the module is untouched until the end
  ema.apply();
  EXPECT_NEAR(value[0].item<double>(), shadow, 1e-2);
}

TEST(Ema, DecayZeroKeepsNothing) {
  at::NoGradGuard no_grad;  // the parameter is one that learns
  at::Tensor value = at::full({2}, 1.0, at::kFloat);
  Ema ema(ParameterList{{"value", &value, {2}, Init::ones()}}, 0);
  value.fill_(7);
  ema.update(0);
  ema.swap();
  ema.apply();
  EXPECT_TRUE(ema.state().empty());
  EXPECT_EQ(value[0].item<double>(), 7);
}

TEST(Ema, SwapsThereAndBack) {
  at::NoGradGuard no_grad;  // the parameter is one that learns
  at::Tensor value = at::full({2}, 0.1, at::kFloat);
  Ema ema(ParameterList{{"value", &value, {2}, Init::ones()}}, 0.9);
  value.fill_(0.3);
  const at::Tensor weights = value.clone(), average = ema.state()[0].values.clone();
  ema.swap();
  EXPECT_TRUE(at::equal(value, average));
  ema.swap();
  EXPECT_TRUE(at::equal(value, weights));
  EXPECT_TRUE(at::equal(ema.state()[0].values, average));
}

TEST(Ema, StateGoesThroughAFile) {
  const std::filesystem::path file = fresh_folder("optimiser") / "ema_state.safetensors";
  at::Tensor a = at::full({2}, 1.5, at::kFloat), b = at::full({2}, 4.0, at::kFloat);
  std::filesystem::create_directories(file.parent_path());
  write_whole(file.parent_path(), file.stem(), Ema(ParameterList{{"value", &a, {2}, Init::ones()}}, 0.9).state());
  Ema ema(ParameterList{{"value", &b, {2}, Init::ones()}}, 0.9);
  ema.load_state(SavedTensors::open(file.parent_path(), file.stem()));
  ema.apply();
  EXPECT_TRUE(at::equal(a, b));
}

}  // namespace
}  // namespace glmimage::train
