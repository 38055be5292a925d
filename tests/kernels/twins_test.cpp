#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/sin.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <functional>
#include <tuple>
#include <vector>

#include "core/error.h"
#include "core/rng.h"
#include "kernels/gelu.h"
#include "kernels/modulation.h"
#include "kernels/rms_norm.h"
#include "kernels/rope.h"
#include "kernels/swiglu.h"
#include "support/goldens.h"

// Twins take float32 alone, so the same kernel in float64 is its composition: the oracle, of values and of gradients.
namespace glmimage::kernels {
namespace {

using test::relative_error;
using Tensors = std::vector<at::Tensor>;
using Kernel = std::function<Tensors(const Tensors&)>;

struct Outcome {
  Tensors values, grads;
};

// The kernel's values, and the gradients of a sum of them with random weights.
Outcome run(const Kernel& kernel, const Tensors& inputs, at::ScalarType dtype,
            const std::function<at::Tensor(at::Tensor)>& view) {
  Tensors leaves, seen;
  for (const at::Tensor& input : inputs) {
    leaves.push_back(input.to(dtype).detach().requires_grad_(true));
    seen.push_back(view(leaves.back()));
  }
  Outcome out;
  out.values = kernel(seen);
  Tensors weights;
  for (size_t i = 0; i < out.values.size(); ++i) {
    weights.push_back(at::randn(out.values[i].sizes(), make_generator(100 + i), at::kFloat).to(dtype));
  }
  out.grads = torch::autograd::grad(out.values, leaves, weights, std::nullopt, false, /*allow_unused=*/true);
  return out;
}

void expect_equal(const Tensors& got, const Tensors& expected) {
  ASSERT_EQ(got.size(), expected.size());
  for (size_t i = 0; i < got.size(); ++i) {
    if (!got[i].defined() || !expected[i].defined()) {  // an undefined gradient is a zero one
      for (const at::Tensor& other : {got[i], expected[i]}) {
        EXPECT_EQ(other.defined() ? other.abs().max().item<double>() : 0, 0) << i;
      }
      continue;
    }
    EXPECT_EQ(got[i].sizes(), expected[i].sizes()) << i;
    if (got[i].numel() == 0) continue;
    EXPECT_LT(relative_error(got[i], expected[i]), 2e-6) << i;
  }
}

// Inputs as they are, and as views whose rows, or whose values, do not lie behind each other; on one thread and on
// several; with the history that training needs and without.
void expect_twin(const Kernel& kernel, const Tensors& inputs) {
  const auto as_is = [](at::Tensor t) { return t; };
  const auto strided = [](at::Tensor t) { return at::cat({t, t}, -1).narrow(-1, 0, t.size(-1)); };
  const int threads = at::get_num_threads();
  const auto spread = [](at::Tensor t) { return at::stack({t, t}, -1).select(-1, 0); };
  for (const auto& view : std::vector<std::function<at::Tensor(at::Tensor)>>{as_is, strided, spread}) {
    const Outcome expected = run(kernel, inputs, at::kDouble, view);
    for (const int count : {1, 3}) {
      at::set_num_threads(count);
      const Outcome got = run(kernel, inputs, at::kFloat, view);
      expect_equal(got.values, expected.values);
      expect_equal(got.grads, expected.grads);
      const c10::InferenceMode without_history;
      Tensors plain;
      for (const at::Tensor& input : inputs) plain.push_back(view(input));
      expect_equal(kernel(plain), expected.values);
    }
  }
  at::set_num_threads(threads);
}

at::Tensor drawn(at::IntArrayRef shape, uint64_t seed) { return at::randn(shape, make_generator(seed), at::kFloat); }

TEST(Twins, RmsNorm) {
  const Kernel kernel = [](const Tensors& in) { return Tensors{rms_norm(in[0], in[1], 1e-5)}; };
  expect_twin(kernel, {drawn({2, 5, 19}, 1), drawn({19}, 2)});
  expect_twin(kernel, {drawn({300, 256}, 1), drawn({256}, 2)});  // enough for several threads
  expect_twin(kernel, {drawn({1, 3}, 1), drawn({3}, 2)});
}

TEST(Twins, Rope) {
  for (const int64_t rotary : {4, 10}) {  // part of a head, and the whole
    for (std::vector<int64_t> shape : {std::vector<int64_t>{3, 1}, std::vector<int64_t>{2, 3, 1}}) {
      shape.push_back(rotary / 2);
      const at::Tensor angle = drawn(shape, 3);
      const Kernel kernel = [&](const Tensors& in) {
        const at::Tensor a = angle.to(in[0].scalar_type());
        return Tensors{rope(in[0], a.cos(), a.sin())};
      };
      expect_twin(kernel, {drawn({2, 3, 5, 10}, 1)});
    }
  }
  const at::Tensor angle = drawn({100, 1, 32}, 3);
  expect_twin(
      [&](const Tensors& in) {
        const at::Tensor a = angle.to(in[0].scalar_type());
        return Tensors{rope(in[0].transpose(1, 2), a.cos(), a.sin()).transpose(1, 2)};
      },
      {drawn({3, 4, 100, 64}, 1)});
}

TEST(Twins, SwiGlu) {
  const Kernel kernel = [](const Tensors& in) { return Tensors{swiglu(in[0])}; };
  expect_twin(kernel, {drawn({2, 3, 14}, 1)});
  expect_twin(kernel, {drawn({200, 512}, 1) * 8});
  const at::Tensor far = at::tensor({-1e30F, -200.0F, -88.0F, 88.0F, 200.0F, 1e30F});  // e^-x beyond float32
  const at::Tensor out = swiglu(at::cat({far, at::ones_like(far)}));
  EXPECT_TRUE(out.isfinite().all().item<bool>());
  EXPECT_TRUE(out.narrow(0, 4, 2).equal(far.narrow(0, 4, 2)));
  EXPECT_LT(out.narrow(0, 1, 2).abs().max().item<float>(), 1e-30F);
}

TEST(Twins, GeluTanh) {
  const Kernel kernel = [](const Tensors& in) { return Tensors{gelu_tanh(in[0])}; };
  expect_twin(kernel, {drawn({2, 3, 7}, 1)});
  expect_twin(kernel, {drawn({300, 257}, 1) * 4});
  const at::Tensor far = at::tensor({-1e12F, -30.0F, 0.0F, 30.0F, 1e12F});
  const Outcome out = run(kernel, {far}, at::kFloat, [](at::Tensor t) { return t; });
  EXPECT_LT(out.values[0].narrow(0, 0, 2).abs().max().item<float>(), 1e-20F);
  EXPECT_TRUE(out.values[0].narrow(0, 2, 3).equal(far.narrow(0, 2, 3)));
  EXPECT_LT(out.grads[0].narrow(0, 0, 2).abs().max().item<float>(), 1e-20F);
  EXPECT_TRUE(out.grads[0].isfinite().all().item<bool>());
}

// Factors of each sample, and shared ones; with and without tokens in front.
TEST(Twins, ModulatedNorm) {
  const Kernel kernel = [](const Tensors& in) {
    return Tensors{modulated_norm({in[0], in[1], in[2]}, {in[3], in[4], in[5]}, 1e-5)};
  };
  for (const int64_t shared : {1, 3}) {
    for (const auto& [front, tokens, width] : {std::tuple{2, 5, 19}, std::tuple{0, 4, 8}, std::tuple{30, 200, 256}}) {
      const auto factor = [&, w = width](uint64_t seed) { return drawn({shared, 1, w}, seed); };
      expect_twin(kernel, {drawn({3, front, width}, 1), factor(2), factor(3), drawn({3, tokens, width}, 4), factor(5),
                           factor(6)});
    }
  }
  expect_twin(
      [](const Tensors& in) {
        return Tensors{modulated_norm({in[0], in[1], in[2]}, 1e-5)};
      },
      {drawn({1, 1500, 96}, 1), drawn({1, 1, 96}, 2), drawn({1, 1, 96}, 3)});  // several pieces of one sample
}

TEST(Twins, GatedResidual) {
  const Kernel kernel = [](const Tensors& in) {
    const TokenPair out = gated_residual({in[0], in[1]}, {in[2], in[3]}, in[4]);
    return Tensors{out.first, out.second};
  };
  for (const int64_t shared : {1, 3}) {
    for (const auto& [front, tokens, width] : {std::tuple{2, 5, 19}, std::tuple{0, 4, 8}, std::tuple{30, 200, 256}}) {
      expect_twin(kernel, {drawn({3, front, width}, 1), drawn({shared, 1, width}, 2), drawn({3, tokens, width}, 3),
                           drawn({shared, 1, width}, 4), drawn({3, front + tokens, width}, 5)});
    }
  }
  expect_twin(
      [](const Tensors& in) {
        return Tensors{gated_residual({in[0], in[1]}, in[2])};
      },
      {drawn({1, 1500, 96}, 1), drawn({1, 1, 96}, 2), drawn({1, 1500, 96}, 3)});
  // Tokens that all samples share, and a result that nobody reads.
  expect_twin(
      [](const Tensors& in) {
        return Tensors{gated_residual({in[0].expand({2, -1, -1}), in[1]}, {in[2], in[3]}, in[4]).second};
      },
      {drawn({1, 3, 16}, 1), drawn({2, 1, 16}, 2), drawn({2, 7, 16}, 3), drawn({2, 1, 16}, 4), drawn({2, 10, 16}, 5)});
}

// What does not fit is the composition's to refuse; twins would read past the end.
TEST(Twins, RefuseWhatDoesNotFit) {
  const auto refused = [](const std::function<at::Tensor()>& call) { EXPECT_THROW(call(), c10::Error); };
  refused([] { return rms_norm(drawn({2, 8}, 1), drawn({6}, 2), 1e-5); });
  refused([] { return rope(drawn({1, 2, 1, 8}, 1), drawn({2, 1, 6}, 2), drawn({2, 1, 6}, 3)); });
  refused([] { return rope(drawn({1, 2, 1, 8}, 1), drawn({3, 1, 4}, 2), drawn({3, 1, 4}, 3)); });
  const at::Tensor factor = drawn({1, 1, 8}, 3);
  const auto norm = [&](int64_t batch, int64_t width) {
    return modulated_norm({drawn({batch, 2, width}, 1), factor, factor}, {drawn({3, 4, 8}, 2), factor, factor}, 1e-5);
  };
  EXPECT_EQ(norm(3, 8).size(1), 6);
  refused([&] { return norm(2, 8); });
  refused([&] { return norm(3, 6); });
  refused([&] {
    return gated_residual({drawn({2, 2, 8}, 1), factor}, {drawn({2, 4, 8}, 2), factor}, drawn({2, 3, 8}, 4)).second;
  });
}

TEST(Twins, HaveNoSecondDerivative) {
  const at::Tensor x = drawn({2, 8}, 1).requires_grad_(true);
  const auto twice = [&](const at::Tensor& y) {
    torch::autograd::grad({y.sum()}, {x}, {}, std::nullopt, /*create_graph=*/true);
  };
  EXPECT_THROW(twice(gelu_tanh(x)), Error);
  EXPECT_THROW(twice(swiglu(x)), Error);
  EXPECT_THROW(twice(rms_norm(x, at::ones_like(x[0]), 1e-5)), Error);
}

}  // namespace
}  // namespace glmimage::kernels
