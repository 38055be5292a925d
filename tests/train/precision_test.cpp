// precision=bfloat16: what is computed in it, and what stays float32.
#include <ATen/TensorOperators.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mse_loss.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

#include "core/autocast.h"
#include "train/run.h"
#include "train/stage_helpers.h"

namespace glmimage::train {
namespace {

const at::Device kCpuDevice(at::kCPU);

at::Tensor drawn(std::vector<int64_t> shape, uint64_t seed) {
  return at::randn(shape, make_generator(seed), at::kFloat);
}

// A layer that learns to be another, for some steps.
struct Learned {
  at::Tensor weight;
  std::vector<double> losses;
  double grad_norm = 0;
  at::ScalarType product{}, loss{}, gradient{};
};

Learned learn(Precision precision, int64_t steps) {
  StageOptions options = tiny_run(fresh_folder("precision"), steps);
  options.config.precision = precision;
  options.config.learning_rate = 0.05;
  options.config.warmup = 0;
  options.config.schedule = Schedule::constant;
  options.resume.from = Resume::From::never;
  const at::Tensor x = drawn({64, 32}, 1), y = at::linear(x, drawn({16, 32}, 2));
  Learned out;
  out.weight = drawn({16, 32}, 3);
  Run run(options, begin_run("toy", options), {.trained = {{"w", &out.weight, {16, 32}, Init::normal(1)}}});
  for (int64_t step = run.first_step(); run.running(step); ++step) {
    const nlohmann::json means = run.update(step, [&](int64_t) -> Pass {
      const at::Tensor product = at::linear(x, out.weight);
      const at::Tensor loss = at::mse_loss(product, y);
      out.product = product.scalar_type();
      out.loss = loss.scalar_type();
      out.weight.register_hook([&](const at::Tensor& grad) {
        out.gradient = grad.scalar_type();
        out.grad_norm = grad.norm().item<double>();
      });
      return {.loss = loss};
    });
    out.losses.push_back(means["loss"].get<double>());
  }
  return out;
}

TEST(Precision, OneStepInBfloat16IsNearOneInFloat32) {
  const Learned exact = learn(Precision::float32, 1), rough = learn(Precision::bfloat16, 1);
  EXPECT_EQ(exact.product, at::kFloat);
  EXPECT_EQ(rough.product, at::kBFloat16);
  EXPECT_EQ(rough.loss, at::kFloat);
  EXPECT_EQ(rough.gradient, at::kFloat);
  EXPECT_EQ(rough.weight.scalar_type(), at::kFloat);
  EXPECT_NEAR(rough.losses[0], exact.losses[0], 0.01 * exact.losses[0]);
  EXPECT_NE(rough.losses[0], exact.losses[0]);
  EXPECT_NEAR(rough.grad_norm, exact.grad_norm, 0.01 * exact.grad_norm);
}

// Were the bfloat16 copies of the weights kept from step to step, the loss would stay where it was.
TEST(Precision, EveryStepSeesTheNewWeights) {
  const Learned exact = learn(Precision::float32, 40), rough = learn(Precision::bfloat16, 40);
  EXPECT_LT(rough.losses.back(), 0.3 * rough.losses.front());
  EXPECT_NEAR(rough.losses.back(), exact.losses.back(), 0.1 * exact.losses.back());
  for (size_t i = 1; i < rough.losses.size(); ++i) EXPECT_NE(rough.losses[i], rough.losses[i - 1]) << i;
}

TEST(Autocast, EndsWithItsGuard) {
  at::Tensor weight = drawn({4, 4}, 1).requires_grad_(true);
  const at::Tensor x = drawn({2, 4}, 2);
  EXPECT_FALSE(Autocast::current(kCpuDevice));
  {
    const Autocast outer(kCpuDevice, at::kBFloat16);
    EXPECT_EQ(Autocast::current(kCpuDevice), at::kBFloat16);
    EXPECT_EQ(at::linear(x, weight).scalar_type(), at::kBFloat16);
    {
      const Autocast off(kCpuDevice, std::nullopt);
      EXPECT_FALSE(Autocast::current(kCpuDevice));
      EXPECT_EQ(at::linear(x, weight).scalar_type(), at::kFloat);
    }
    EXPECT_EQ(at::linear(x, weight).scalar_type(), at::kBFloat16);
  }
  EXPECT_FALSE(Autocast::current(kCpuDevice));
  EXPECT_EQ(at::linear(x, weight).scalar_type(), at::kFloat);
}

// What other devices compute is their library's; that they are told is ours.
TEST(Autocast, IsEachKindOfDevicesOwn) {
  for (const at::DeviceType type : {at::kCUDA, at::kPrivateUse1}) {
    const at::Device device(type, 0);
    {
      const Autocast guard(device, at::kBFloat16);
      EXPECT_EQ(Autocast::current(device), at::kBFloat16);
      EXPECT_FALSE(Autocast::current(kCpuDevice));
      EXPECT_EQ(at::linear(drawn({2, 4}, 1), drawn({4, 4}, 2)).scalar_type(), at::kFloat);
    }
    EXPECT_FALSE(Autocast::current(device));
  }
}

// The copy of a weight lives as long as the outermost guard and no longer.
TEST(Autocast, DropsItsCopiesOfWeights) {
  at::Tensor weight = drawn({4, 4}, 1).requires_grad_(true);
  const at::Tensor x = drawn({2, 4}, 2);
  const auto product = [&] { return at::linear(x, weight).detach().to(at::kFloat); };
  at::Tensor before, stale, after;
  const auto change = [&] { weight.detach().mul_(2); };
  {
    const Autocast guard(kCpuDevice, at::kBFloat16);
    before = product();
    change();
    stale = product();  // a copy is in use: proof that there is something to drop
  }
  {
    const Autocast guard(kCpuDevice, at::kBFloat16);
    after = product();
    const Autocast dropping(kCpuDevice, at::kBFloat16, Autocast::WeightCopies::drop);
    change();
    EXPECT_TRUE(product().equal(before * 4));
  }
  EXPECT_TRUE(stale.equal(before));
  EXPECT_TRUE(after.equal(before * 2));
}

}  // namespace
}  // namespace glmimage::train
