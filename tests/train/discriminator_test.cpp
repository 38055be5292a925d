// The adversarial term of the VAE's training: held to PyTorch, and who learns from what.
#include "train/losses/discriminator.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/avg_pool2d.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>

#include "core/autocast.h"
#include "core/rng.h"
#include "support/goldens.h"
#include "support/gradients.h"
#include "train/data/data_helpers.h"
#include "train/losses/adversarial_loss.h"
#include "train/optim/adam_w.h"

namespace glmimage::train {
namespace {

using testing::HasSubstr;

constexpr double kTolerance = 1e-5;  // relative, float32

Discriminator fresh(DiscriminatorSizes sizes) {
  Discriminator out(sizes);
  ParameterList list;
  out.list(list);
  init_parameters(list, make_generator(1));
  return out;
}

at::Tensor drawn(std::vector<int64_t> shape, uint64_t seed) {
  return at::randn(shape, make_generator(seed), at::kFloat);
}

// The reference goes back twice, with the discriminator held still and with what was decoded detached.
TEST(Discriminator, OnePassBackGivesTheGradientsOfTwo) {
  const SafetensorsFile file = SafetensorsFile::open(test::golden("training/discriminator.safetensors"));
  Discriminator discriminator({.width = 4, .depth = 2});
  ParameterList list;
  discriminator.list(list);
  for (const Parameter& p : list) *p.tensor = file.tensor(p.name);
  auto leaves = test::record_gradients(list);
  const at::Tensor pixels = file.tensor("pixels"), decoded = file.tensor("decoded").clone().requires_grad_(true);
  leaves["decoded"] = decoded;

  EXPECT_LT(test::relative_error(discriminator(pixels), file.tensor("logits.real")), kTolerance);
  EXPECT_LT(test::relative_error(discriminator(decoded), file.tensor("logits.fake")), kTolerance);
  const AdversarialLosses losses = adversarial_losses(discriminator, pixels, decoded);
  EXPECT_LT(test::relative_error(losses.generator, file.tensor("loss.generator")), kTolerance);
  EXPECT_LT(test::relative_error(losses.discriminator, file.tensor("loss.discriminator")), kTolerance);
  const auto share = [&](const at::Tensor& which) { return which.to(at::kFloat).mean().item<double>(); };
  EXPECT_EQ(losses.real_told, share(file.tensor("logits.real") > 0));
  EXPECT_EQ(losses.decoded_told, share(file.tensor("logits.fake") < 0));
  (losses.generator + losses.discriminator).backward();
  EXPECT_EQ(test::expect_gradients(leaves, file, "grad.", kTolerance), static_cast<int>(list.size()) + 1);
}

TEST(Discriminator, NeitherSideLearnsFromTheOthersLoss) {
  Discriminator discriminator = fresh({.width = 4, .depth = 2});
  ParameterList list;
  discriminator.list(list);
  for (const Parameter& p : list) p.tensor->requires_grad_(true);
  const at::Tensor pixels = drawn({2, 3, 16, 16}, 2).requires_grad_(true);
  const at::Tensor decoded = drawn({2, 3, 16, 16}, 3).requires_grad_(true);
  const AdversarialLosses losses = adversarial_losses(discriminator, pixels, decoded);
  losses.generator.backward();
  for (const Parameter& p : list) EXPECT_FALSE(p.tensor->grad().defined()) << p.name;
  ASSERT_TRUE(decoded.grad().defined());
  const at::Tensor before = decoded.grad().clone();
  EXPECT_GT(before.norm().item<double>(), 0);
  losses.discriminator.backward();
  for (const Parameter& p : list) {
    ASSERT_TRUE(p.tensor->grad().defined()) << p.name;
    EXPECT_GT(p.tensor->grad().norm().item<double>(), 0) << p.name;
  }
  EXPECT_TRUE(decoded.grad().equal(before));
  EXPECT_FALSE(pixels.grad().defined());
}

// What group norm is for.
TEST(Discriminator, LogitsDoNotDependOnTheRestOfTheBatch) {
  const Discriminator discriminator = fresh({.width = 8, .depth = 3});
  const at::Tensor one = drawn({1, 3, 32, 40}, 4), others = drawn({3, 3, 32, 40}, 5) * 9;
  const at::Tensor together = discriminator(at::cat({one, others}));  // (4, 1, 2, 3)
  EXPECT_LT(test::relative_error(together.narrow(0, 0, 1), discriminator(one)), kTolerance);
}

TEST(Discriminator, TakesAnySizeThatItsStridesAllow) {
  const auto patches = [](const Discriminator& discriminator, int64_t height, int64_t width) {
    return discriminator(drawn({1, 3, height, width}, 6)).sizes().vec();
  };
  EXPECT_EQ(patches(fresh({.width = 4, .depth = 1}), 6, 7), (std::vector<int64_t>{1, 1, 1, 1}));
  EXPECT_EQ(patches(fresh({.width = 4, .depth = 3}), 24, 71), (std::vector<int64_t>{1, 1, 1, 6}));
  const Discriminator deep = fresh({.width = 4, .depth = 5});  // channels stop doubling
  EXPECT_EQ(patches(deep, 96, 96), (std::vector<int64_t>{1, 1, 1, 1}));
  EXPECT_EQ(deep.convolutions[5].out, 32);
  EXPECT_THAT(test::usage_error([&] { patches(deep, 96, 95); }), HasSubstr("95 x 96 are too small"));
  EXPECT_THAT(test::usage_error([&] { patches(deep, 95, 96); }), HasSubstr("it needs 96 pixels"));
  deep.check_room(96, 96);
}

TEST(Discriminator, ComputesInTheRunsPrecisionAndJudgesInFloat32) {
  const Discriminator discriminator = fresh({.width = 8, .depth = 2});
  const at::Tensor pixels = drawn({2, 3, 24, 24}, 7);
  const at::Tensor exact = discriminator(pixels);
  const Autocast guard(at::kCPU, at::kBFloat16);
  const at::Tensor rough = discriminator(pixels.to(at::kBFloat16));
  EXPECT_EQ(rough.scalar_type(), at::kFloat);
  EXPECT_LT(test::relative_error(rough, exact), 0.05);
  EXPECT_FALSE(rough.equal(exact));
}

// Mosaics of squares with sharp edges.
at::Tensor mosaics(uint64_t seed) {
  const at::Tensor colours = at::rand({8, 3, 8, 8}, make_generator(seed), at::kFloat) * 2 - 1;
  return colours.repeat_interleave(4, 2).repeat_interleave(4, 3);  // (8, 3, 32, 32)
}

at::Tensor blurred(const at::Tensor& pixels) { return at::avg_pool2d(pixels, 3, 1, 1); }

TEST(Discriminator, SoonTellsSharpFromBlurred) {
  Discriminator discriminator = fresh({.width = 8, .depth = 2});
  ParameterList list;
  discriminator.list(list);
  AdamW optimiser(list, {});
  constexpr uint64_t kSteps = 40;
  const AdversarialLosses first = adversarial_losses(discriminator, mosaics(0), blurred(mosaics(0)));
  for (uint64_t step = 1; step <= kSteps; ++step) {
    adversarial_losses(discriminator, mosaics(step), blurred(mosaics(step))).discriminator.backward();
    optimiser.step(2e-3);
  }
  const AdversarialLosses last = adversarial_losses(discriminator, mosaics(0), blurred(mosaics(0)));
  EXPECT_LT(last.discriminator.item<double>(), 0.5 * first.discriminator.item<double>());
  EXPECT_LT(first.real_told + first.decoded_told, 1.5);
  EXPECT_GT(last.real_told, 0.9);
  EXPECT_GT(last.decoded_told, 0.9);

  // And what it tells makes pictures sharper: a step along the gradient undoes some of the blur.
  const at::Tensor sharp = mosaics(100), soft = blurred(sharp).requires_grad_(true);
  adversarial_losses(discriminator, sharp, soft).generator.backward();
  const at::Tensor step = -soft.grad(), way = sharp - soft.detach();
  const double cosine = (step * way).sum().item<double>() / (step.norm() * way.norm()).item<double>();
  EXPECT_GT(cosine, 0.05);  // of random directions: 0.006
  std::printf("hinge %.3f to %.3f, told %.2f and %.2f, cosine of gradient and blur %.2f\n",
              first.discriminator.item<double>(), last.discriminator.item<double>(), last.real_told, last.decoded_told,
              cosine);
}

}  // namespace
}  // namespace glmimage::train
