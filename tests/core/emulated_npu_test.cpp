// The emulated device (tests/support/emulated_npu.h) must compute what the CPU computes and refuse what a device does.
#include "support/emulated_npu.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/group_norm.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/multinomial.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/rms_norm.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/upsample_nearest2d.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <functional>

#include "support/goldens.h"

namespace glmimage {
namespace {

using test::EmulatedNpu;
using ::testing::HasSubstr;
using Tensors = std::vector<at::Tensor>;

// Runs a function on the CPU and on the device and compares; the device's results must be on the device.
void expect_equal(const Tensors& inputs, const std::function<at::Tensor(const Tensors&)>& function) {
  const EmulatedNpu npu = EmulatedNpu::open();
  Tensors moved;
  for (const at::Tensor& t : inputs) moved.push_back(t.to(npu.device()));
  const at::Tensor expected = function(inputs);
  npu.reset_counts();
  const at::Tensor actual = function(moved);
  EXPECT_EQ(actual.device(), npu.device());
  EXPECT_EQ(actual.scalar_type(), expected.scalar_type());
  EXPECT_GT(npu.ops(), 0);
  EXPECT_LE(test::relative_error(actual, expected), 1e-6);
}

at::Tensor random(at::IntArrayRef shape) {
  return at::randn(shape, at::make_generator<at::CPUGeneratorImpl>(5), at::kFloat);  // (shape)
}

TEST(EmulatedNpu, MovesTensors) {
  const EmulatedNpu npu = EmulatedNpu::open();
  const at::Tensor x = random({3, 4});  // (3, 4)
  const int64_t before = npu.live_bytes();
  npu.reset_counts();
  {
    const at::Tensor y = x.to(npu.device());  // (3, 4)
    EXPECT_EQ(y.device(), at::Device(at::kPrivateUse1, 0));
    EXPECT_EQ(npu.bytes_to_device(), 48);
    EXPECT_EQ(npu.live_bytes(), before + 48);
    EXPECT_TRUE(y.cpu().equal(x));
    EXPECT_TRUE(y.t().cpu().equal(x.t()));
    EXPECT_TRUE(y.to(at::kBFloat16).cpu().equal(x.to(at::kBFloat16)));
    EXPECT_TRUE(x.to(npu.device(), at::kHalf).cpu().equal(x.to(at::kHalf)));
  }
  EXPECT_EQ(npu.live_bytes(), before);
  EXPECT_EQ(at::zeros({0, 3}, at::TensorOptions(npu.device())).cpu().numel(), 0);
  EXPECT_EQ(x.to(npu.device()).sum().item<float>(), x.sum().item<float>());
}

TEST(EmulatedNpu, ViewsShareMemory) {
  const EmulatedNpu npu = EmulatedNpu::open();
  at::Tensor x = at::zeros({2, 3, 4}, at::TensorOptions(npu.device()));  // (2, 3, 4)
  x.select(0, 1).slice(1, 1, 3).fill_(2);
  x.view({6, 4}).t().unsqueeze(0).select(1, 3).mul_(3);
  x.permute({2, 0, 1})[0].add_(1);
  at::Tensor host = at::zeros({2, 3, 4});  // (2, 3, 4)
  host.select(0, 1).slice(1, 1, 3).fill_(2);
  host.view({6, 4}).t().unsqueeze(0).select(1, 3).mul_(3);
  host.permute({2, 0, 1})[0].add_(1);
  EXPECT_TRUE(x.cpu().equal(host));
  EXPECT_TRUE(x.unfold(2, 2, 1).cpu().equal(host.unfold(2, 2, 1)));
  EXPECT_TRUE(x.reshape({4, 6}).cpu().equal(host.reshape({4, 6})));
  EXPECT_TRUE(x.expand({5, 2, 3, 4}).contiguous().cpu().equal(host.expand({5, 2, 3, 4})));
}

TEST(EmulatedNpu, MatMulAndNorms) {
  expect_equal({random({5, 8}), random({8, 6})}, [](const Tensors& t) { return t[0].matmul(t[1]); });
  expect_equal({random({2, 5, 8}), random({6, 8}), random({6})},
               [](const Tensors& t) { return at::linear(t[0], t[1], t[2]); });
  expect_equal({random({2, 5, 8}), random({8})}, [](const Tensors& t) { return at::rms_norm(t[0], {8}, t[1], 1e-5); });
  expect_equal({random({2, 5, 8})}, [](const Tensors& t) { return at::layer_norm(t[0], {8}); });
  expect_equal({random({2, 8, 4, 4}), random({8}), random({8})},
               [](const Tensors& t) { return at::group_norm(t[0], 4, t[1], t[2], 1e-6); });
  expect_equal({random({2, 8})}, [](const Tensors& t) { return at::silu(t[0]) + at::gelu(t[0], "tanh"); });
}

TEST(EmulatedNpu, Attention) {
  const Tensors qkv = {random({1, 2, 5, 8}), random({1, 2, 7, 8}), random({1, 2, 7, 8}), random({5, 7})};
  expect_equal(qkv, [](const Tensors& t) { return at::scaled_dot_product_attention(t[0], t[1], t[2]); });
  expect_equal(qkv, [](const Tensors& t) { return at::scaled_dot_product_attention(t[0], t[1], t[2], t[3]); });
  expect_equal(qkv, [](const Tensors& t) { return at::scaled_dot_product_attention(t[0], t[0], t[0], {}, 0.0, true); });
}

TEST(EmulatedNpu, Convolutions) {
  expect_equal({random({1, 3, 8, 8}), random({4, 3, 3, 3}), random({4})},
               [](const Tensors& t) { return at::conv2d(t[0], t[1], t[2], 1, 1); });
  expect_equal({random({1, 3, 8, 8}), random({4, 3, 3, 3})},
               [](const Tensors& t) { return at::conv2d(t[0], t[1], {}, 2); });
  expect_equal({random({1, 3, 4, 4})}, [](const Tensors& t) { return at::upsample_nearest2d(t[0], {8, 8}); });
}

TEST(EmulatedNpu, Indexing) {
  const at::Tensor ids = at::randint(10, {2, 3}, at::kLong);  // (2, 3)
  expect_equal({random({10, 4}), ids}, [](const Tensors& t) { return at::embedding(t[0], t[1]); });
  expect_equal({random({10, 4}), ids}, [](const Tensors& t) { return t[0].index({t[1]}); });
  expect_equal({random({10, 4}), ids.flatten()}, [](const Tensors& t) { return t[0].index_select(0, t[1]); });
  expect_equal({random({2, 3}), random({4, 3})}, [](const Tensors& t) { return at::cat({t[0], t[1]}, 0); });
  expect_equal({random({4, 4})}, [](const Tensors& t) { return at::where(t[0] > 0, t[0], -t[0]).cumsum(1); });
  expect_equal({random({4, 9})}, [](const Tensors& t) { return std::get<1>(t[0].topk(3, 1)); });
  expect_equal({random({4, 9})}, [](const Tensors& t) { return t[0].argmax(1); });
  expect_equal({random({4, 9})}, [](const Tensors& t) {
    at::Tensor out = t[0].clone();  // (4, 9)
    out.slice(1, 2, 5).copy_(t[0].slice(1, 0, 3));
    return out.masked_fill(out < 0, 0);
  });
  expect_equal({random({5})}, [](const Tensors& t) { return at::arange(5, t[0].options()) * t[0]; });
}

TEST(EmulatedNpu, Gradients) {
  const auto loss_gradients = [](const at::Device& device) {
    at::Tensor w = random({4, 3, 3, 3}).to(device).requires_grad_(true);                // (4, 3, 3, 3)
    at::Tensor v = random({16, 6}).to(device).requires_grad_(true);                     // (16, 6)
    const at::Tensor x = random({2, 3, 4, 4}).to(device);                               // (2, 3, 4, 4)
    at::Tensor y = at::silu(at::conv2d(x, w, {}, 1, 1)).reshape({2, 4, 16}).matmul(v);  // (2, 4, 6)
    y = at::scaled_dot_product_attention(y, y, y);
    return torch::autograd::grad({y.pow(2).mean()}, {w, v});
  };
  const EmulatedNpu npu = EmulatedNpu::open();
  const Tensors expected = loss_gradients(at::kCPU), actual = loss_gradients(npu.device());
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(actual[i].device(), npu.device());
    EXPECT_LE(test::relative_error(actual[i], expected[i]), 1e-5);
  }
}

std::string refusal(const std::function<void()>& action) {
  try {
    action();
  } catch (const c10::Error& e) {
    return e.what_without_backtrace();
  }
  ADD_FAILURE() << "nothing was refused";
  return "";
}

TEST(EmulatedNpu, RefusesMixedDevices) {
  const EmulatedNpu npu = EmulatedNpu::open();
  const at::Tensor host = random({3, 3}), there = host.to(npu.device());  // (3, 3)
  const char* message = "Expected all tensors to be on the same device";
  EXPECT_THAT(refusal([&] { (void)(host + there); }), HasSubstr(message));
  EXPECT_THAT(refusal([&] { (void)there.matmul(host); }), HasSubstr(message));
  EXPECT_THAT(refusal([&] { (void)at::cat({there, host}); }), HasSubstr(message));
  EXPECT_THAT(refusal([&] { (void)there.index({at::ones({2}, at::kLong)}); }), HasSubstr(message));
  EXPECT_THAT(refusal([&] { (void)at::linear(there, there, random({3})); }), HasSubstr(message));
  EXPECT_THAT(refusal([&] { (void)at::embedding(there, at::ones({2}, at::kLong)); }), HasSubstr(message));
  EXPECT_THAT(
      refusal([&] { (void)at::multinomial(there.abs(), 1, false, at::make_generator<at::CPUGeneratorImpl>(1)); }),
      HasSubstr("generator"));
  EXPECT_TRUE((there * 2).cpu().equal(host * 2));
  EXPECT_TRUE((there * host.sum()).cpu().equal(host * host.sum()));  // a lone number may come from the host
}

TEST(EmulatedNpuDeathTest, HostCodeCannotReadDeviceMemory) {
  const EmulatedNpu npu = EmulatedNpu::open();
  const at::Tensor there = at::ones({3}, at::TensorOptions(npu.device()));  // (3)
  volatile const float* data = there.const_data_ptr<float>();
  EXPECT_DEATH({ [[maybe_unused]] float x = data[1]; }, "");
}

TEST(EmulatedNpu, ResizesAndSets) {
  const EmulatedNpu npu = EmulatedNpu::open();
  at::Tensor x = at::arange(4, at::TensorOptions(npu.device()).dtype(at::kFloat));  // (4)
  x.resize_({2, 4});
  EXPECT_TRUE(x.cpu()[0].equal(at::arange(4, at::kFloat)));
  at::Tensor y = at::zeros({1}, at::TensorOptions(npu.device()));  // (1)
  y.set_(x.storage(), 1, {3}, {1});
  EXPECT_TRUE(y.cpu().equal(at::arange(1, 4, at::kFloat)));
}

}  // namespace
}  // namespace glmimage
