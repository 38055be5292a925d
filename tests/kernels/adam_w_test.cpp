#include "kernels/adam_w.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/sqrt.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "core/error.h"
#include "core/rng.h"
#include "support/emulated_npu.h"
#include "support/error_of.h"
#include "support/goldens.h"

namespace glmimage::kernels {
namespace {

using Tensors = std::vector<at::Tensor>;

constexpr AdamWStep kStep = {.lr = 0.05, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-6, .weight_decay = 0.1};
constexpr int kUpdates = 4;

at::Tensor drawn(at::IntArrayRef shape, uint64_t seed) { return at::randn(shape, make_generator(seed), at::kFloat); }

Tensors gradients(int64_t update) {
  const auto seed = static_cast<uint64_t>(100 + 10 * update);
  return {drawn({3, 4}, seed), drawn({5}, seed + 1), drawn({2, 3, 2}, seed + 2)};
}

// The second parameter joined later than the others, so its steps are fewer.
AdamWTensors start(at::Device device, at::ScalarType type) {
  AdamWTensors t;
  uint64_t seed = 1;
  for (const at::Tensor& like : gradients(0)) {
    const at::Tensor parameter = drawn(like.sizes(), seed++).to(device, type);
    t.parameters.push_back(parameter);
    t.exp_avgs.push_back(at::zeros_like(parameter));
    t.exp_avg_sqs.push_back(at::zeros_like(parameter));
    t.steps.push_back(at::full({}, t.steps.size() == 1 ? 0.0 : 3.0, at::TensorOptions(at::kFloat).device(device)));
  }
  return t;
}

AdamWTensors updated(at::Device device, at::ScalarType type) {
  AdamWTensors t = start(device, type);
  for (int update = 0; update < kUpdates; ++update) {
    t.gradients = gradients(update);
    for (at::Tensor& g : t.gradients) g = g.to(device, type);
    for (at::Tensor& step : t.steps) step += 1;
    adam_w(t, kStep);
  }
  return t;
}

// The paper's algorithm in float64.
AdamWTensors by_formula() {
  AdamWTensors t = start(at::kCPU, at::kDouble);
  for (int update = 0; update < kUpdates; ++update) {
    const Tensors grads = gradients(update);
    for (size_t i = 0; i < grads.size(); ++i) {
      const at::Tensor g = grads[i].to(at::kDouble);
      const double step = t.steps[i].item<double>() + 1;
      t.steps[i].fill_(step);
      const at::Tensor decayed = t.parameters[i] * (1 - kStep.lr * kStep.weight_decay);
      t.exp_avgs[i].copy_(t.exp_avgs[i] * kStep.beta1 + g * (1 - kStep.beta1));
      t.exp_avg_sqs[i].copy_(t.exp_avg_sqs[i] * kStep.beta2 + g * g * (1 - kStep.beta2));
      const at::Tensor m = t.exp_avgs[i] / (1 - std::pow(kStep.beta1, step));
      const at::Tensor v = t.exp_avg_sqs[i] / (1 - std::pow(kStep.beta2, step));
      t.parameters[i].copy_(decayed - m / (at::sqrt(v) + kStep.eps) * kStep.lr);
    }
  }
  return t;
}

void expect_formula(const AdamWTensors& got, double tolerance) {
  const AdamWTensors expected = by_formula();
  for (size_t i = 0; i < expected.parameters.size(); ++i) {
    EXPECT_LT(test::relative_error(got.parameters[i].cpu(), expected.parameters[i]), tolerance) << i;
    EXPECT_LT(test::relative_error(got.exp_avgs[i].cpu(), expected.exp_avgs[i]), tolerance) << i;
    EXPECT_LT(test::relative_error(got.exp_avg_sqs[i].cpu(), expected.exp_avg_sqs[i]), tolerance) << i;
  }
}

TEST(AdamW, OnTheProcessor) { expect_formula(updated(at::kCPU, at::kFloat), 2e-6); }

TEST(AdamW, OnADeviceByItsFusedOperator) {
  const test::EmulatedNpu npu = test::EmulatedNpu::open();
  npu.offer_operators(true);
  npu.reset_counts();
  const AdamWTensors got = updated(npu.device(), at::kFloat);
  EXPECT_EQ(npu.ops("aten::_fused_adamw_"), kUpdates) << "one for all parameters";
  npu.offer_operators(false);
  expect_formula(got, 2e-6);
}

// Without one nothing is fetched to the host.
TEST(AdamW, OnADeviceThatHasNone) {
  const test::EmulatedNpu npu = test::EmulatedNpu::open();
  npu.reset_counts();
  const AdamWTensors got = updated(npu.device(), at::kFloat);
  EXPECT_EQ(npu.ops("aten::_fused_adamw_"), 0);
  EXPECT_EQ(npu.bytes_to_host(), 0);
  expect_formula(got, 2e-6);
}

TEST(AdamW, NothingToDo) { EXPECT_NO_THROW(adam_w({}, kStep)); }

TEST(AdamW, ListsThatDoNotMatchAreRefused) {
  AdamWTensors t = start(at::kCPU, at::kFloat);
  t.gradients = gradients(0);
  t.steps.pop_back();
  const std::string error = test::error_of(ErrorKind::internal, [&] { adam_w(t, kStep); });
  EXPECT_NE(error.find("2 steps"), std::string::npos) << error;
}

}  // namespace
}  // namespace glmimage::kernels
