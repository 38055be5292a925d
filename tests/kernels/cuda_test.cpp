// The kernels for NVIDIA devices, from the text that is compiled for them, run by the processor: values as the
// compositions give them in the same type, and refused where they do not fit.
#include "kernels/cuda/runtime.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/sin.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "core/rng.h"
#include "kernels/cuda/attention.h"
#include "kernels/cuda/linear.h"
#include "kernels/cuda/modulation.h"
#include "kernels/cuda/rms_norm.h"
#include "kernels/cuda/rope.h"
#include "kernels/cuda/source.h"
#include "kernels/cuda/swiglu.h"
#include "kernels/emulated_cuda/emulated_cuda.h"
#include "kernels/linear.h"
#include "kernels/modulation.h"
#include "kernels/rms_norm.h"
#include "kernels/rope.h"
#include "kernels/swiglu.h"
#include "support/goldens.h"

namespace glmimage::kernels {
namespace {

using test::relative_error;

class CudaKernels : public ::testing::TestWithParam<at::ScalarType> {
 protected:
  at::Tensor drawn(at::IntArrayRef shape, uint64_t seed) const {
    return at::randn(shape, make_generator(seed), at::kFloat).to(GetParam());
  }
  // Sums are taken in another order; sixteen bits round the same way nearly always.
  double tolerance() const { return GetParam() == at::kFloat ? 2e-6 : GetParam() == at::kHalf ? 1e-3 : 8e-3; }
  void expect_close(const at::Tensor& got, const at::Tensor& expected) const {
    EXPECT_EQ(got.scalar_type(), expected.scalar_type());
    EXPECT_EQ(got.sizes(), expected.sizes());
    EXPECT_LT(relative_error(got, expected), tolerance());
  }
  test::EmulatedCuda cuda_;
};

TEST_P(CudaKernels, RmsNorm) {
  for (const int64_t width : {8, 264, 4104}) {
    const at::Tensor x = drawn({2, 3, width}, 1), weight = drawn({width}, 2);
    if (!cuda::fits_a_block(x)) continue;
    ASSERT_TRUE(cuda::can_norm(x, weight)) << width;
    expect_close(cuda::rms_norm(x, weight, 1e-5), rms_norm(x, weight, 1e-5));
  }
}

TEST_P(CudaKernels, SumsOfNorms) {
  const at::Tensor x = drawn({1, 3, 272}, 1), update = drawn({1, 3, 272}, 2).mul(3), weight = drawn({272}, 3),
                   next = drawn({272}, 4);
  ASSERT_TRUE(cuda::can_add_normed(x, update, weight));
  expect_close(cuda::add_normed(x, update, weight, 1e-5), add_normed(x, update, weight, 1e-5));
  const SumAndNormed got = cuda::add_normed_then_norm(x, update, weight, next, 1e-5),
                     expected = add_normed_then_norm(x, update, weight, next, 1e-5);
  expect_close(got.sum, expected.sum);
  expect_close(got.normed, expected.normed);
}

TEST_P(CudaKernels, ModulatedNorm) {
  const auto run = [&](int64_t tokens, uint64_t seed) {
    return Modulated{drawn({2, tokens, 264}, seed), drawn({1, 1, 264}, seed + 1), drawn({2, 1, 264}, seed + 2)};
  };
  Modulated second = run(4, 10);
  second.shift = drawn({2, 1, 264}, 20);
  for (const int64_t before : {0, 3}) {
    Modulated first = run(before, 1);
    first.scale = first.scale.narrow(0, 0, 1);
    ASSERT_TRUE(cuda::can_norm(first, second));
    expect_close(cuda::modulated_norm(first, second, 1e-5), modulated_norm(first, second, 1e-5));
  }
}

TEST_P(CudaKernels, GatedResidual) {
  // Factors as they come: pieces of one projection.
  const at::Tensor joint = drawn({2, 1, 3 * 136}, 5), update = drawn({2, 5, 136}, 6);
  const Gated first{drawn({2, 2, 136}, 1), joint.narrow(2, 136, 136)},
      second{drawn({2, 3, 136}, 2), joint.narrow(2, 272, 136)};
  ASSERT_TRUE(cuda::can_add(first, second, update));
  const TokenPair got = cuda::gated_residual(first, second, update), expected = gated_residual(first, second, update);
  expect_close(got.first, expected.first);
  expect_close(got.second, expected.second);
}

TEST_P(CudaKernels, Rope) {
  for (const auto& [dim, half] : std::vector<std::pair<int64_t, int64_t>>{{128, 32}, {128, 64}, {12, 4}, {256, 128}}) {
    const at::Tensor joined = drawn({2, 5, 4, dim}, 1), x = joined.narrow(2, 0, 3);
    for (const auto type : {at::kFloat, GetParam()}) {
      const at::Tensor angles = at::randn({1, 5, 1, half}, make_generator(3), at::kFloat);
      const at::Tensor cos = angles.cos().to(type), sin = angles.sin().to(type);
      ASSERT_TRUE(cuda::can_turn(x, cos, sin));
      expect_close(cuda::turn(x, cos, sin, std::nullopt), rope(x, cos, sin));
      expect_close(cuda::turn(x, cos, sin, 1e-5), normed_rope(x, 1e-5, cos, sin));
    }
  }
}

TEST_P(CudaKernels, Swiglu) {
  const at::Tensor x = drawn({3, 2 * 136}, 1).mul(4);
  ASSERT_TRUE(cuda::can_gate(x));
  expect_close(cuda::swiglu(x), swiglu(x));
  EXPECT_FALSE(cuda::can_gate(drawn({3, 2 * 3}, 1)));
}

TEST_P(CudaKernels, OneTokenThroughFloats) {
  for (const auto& [out, in] : std::vector<std::pair<int64_t, int64_t>>{{17, 64}, {8, 4096}, {3, 2056}}) {
    const at::Tensor x = drawn({1, 1, in}, 1), weight = drawn({out, in}, 2).div(8), bias = drawn({out}, 3);
    ASSERT_TRUE(cuda::can_multiply_one(x, weight, bias));
    const at::Tensor exact = at::linear(x.to(at::kDouble), weight.to(at::kDouble), bias.to(at::kDouble)).to(GetParam());
    expect_close(cuda::multiply_one(x, weight, bias), exact);
    expect_close(cuda::multiply_one(x, weight, {}),
                 at::linear(x.to(at::kDouble), weight.to(at::kDouble)).to(GetParam()));
  }
  EXPECT_FALSE(cuda::can_multiply_one(drawn({1, 2, 64}, 1), drawn({8, 64}, 2), {})) << "two tokens";
  EXPECT_FALSE(cuda::can_multiply_one(drawn({64}, 1).requires_grad_(true), drawn({8, 64}, 2), {})) << "a gradient";
  EXPECT_FALSE(cuda::can_multiply_one(drawn({66}, 1), drawn({8, 66}, 2), {})) << "columns";
}

TEST_P(CudaKernels, ManyTokensAreSplitAtWholeTiles) {
  const at::Tensor weight = drawn({24, 16}, 2), bias = drawn({24}, 3), x = drawn({1, 2048 + 19, 16}, 1);
  const auto type = GetParam();
  EXPECT_EQ(cuda::can_split(x, weight, bias), type != at::kFloat);
  for (const auto& b : std::vector<std::optional<at::Tensor>>{bias, std::nullopt}) {
    const at::Tensor exact =
        at::linear(x.to(at::kDouble), weight.to(at::kDouble), b ? std::optional(b->to(at::kDouble)) : std::nullopt);
    expect_close(cuda::multiply_split(x, weight, b), exact.to(type));
  }
  EXPECT_FALSE(cuda::can_split(drawn({1, 2048, 16}, 1), weight, {})) << "whole tiles";
  EXPECT_FALSE(cuda::can_split(drawn({1, 100, 16}, 1), weight, {})) << "few tokens";
}

TEST_P(CudaKernels, OneTokenThroughFewBits) {
  for (const int64_t bits : {8, 4}) {
    for (const int64_t group : {0, 32, 64}) {
      const Quantised few = quantise(at::randn({21, 1088}, make_generator(1), at::kFloat), bits, group);
      const at::Tensor x = drawn({1, 1, 1088}, 2), bias = drawn({21}, 3);
      for (const at::Tensor& scale : {few.scale, few.scale.to(at::kFloat)}) {
        ASSERT_TRUE(cuda::can_multiply_one(x, few.q, scale, bias)) << bits << " " << group;
        const at::Tensor exact =
            at::linear(x.to(at::kDouble), dequantise(few.q, scale, at::kDouble), bias.to(at::kDouble));
        const double error = relative_error(cuda::multiply_one(x, few.q, scale, bias), exact);
        EXPECT_LT(error, std::max(tolerance(), 2e-5)) << bits << " " << group;
      }
    }
  }
  const Quantised few = quantise(at::randn({8, 48}, make_generator(1), at::kFloat), 4, 0);
  EXPECT_FALSE(cuda::can_multiply_one(drawn({48}, 1), few.q, few.scale, {})) << "48 values of 4 bits";
}

TEST_P(CudaKernels, Dequantise) {
  for (const int64_t bits : {8, 4}) {
    for (const int64_t group : {0, 32}) {
      const Quantised few = quantise(at::randn({11, 352}, make_generator(1), at::kFloat), bits, group);
      ASSERT_TRUE(cuda::can_dequantise(few.q, few.scale, GetParam()));
      const at::Tensor got = cuda::dequantise(few.q, few.scale, GetParam());
      expect_close(got, dequantise(few.q, few.scale, at::kFloat).to(GetParam()));
    }
  }
  EXPECT_FALSE(cuda::can_dequantise(quantise(at::ones({2, 24}), 8, 8).q, at::ones({2, 3}), GetParam()))
      << "groups of 8";
}

TEST_P(CudaKernels, AttentionOfOneToken) {
  for (const auto& [heads, kv_heads, dim] :
       std::vector<std::tuple<int64_t, int64_t, int64_t>>{{32, 2, 128}, {6, 3, 16}, {1, 1, 64}}) {
    for (const int64_t keys : {1, 32, 77}) {
      const at::Tensor q = drawn({2, 1, heads + kv_heads, dim}, 1).narrow(2, 0, heads).transpose(1, 2);
      const at::Tensor k = drawn({2, kv_heads, 90, dim}, 2), v = drawn({2, kv_heads, 90, dim}, 3);
      const AttentionOptions options{.keys = keys};
      ASSERT_TRUE(cuda::can_attend(q, k, v, options));
      const at::Tensor exact =
          at::scaled_dot_product_attention(q.to(at::kDouble), k.narrow(2, 0, keys).to(at::kDouble),
                                           v.narrow(2, 0, keys).to(at::kDouble), {}, 0.0, false, {}, true);
      expect_close(cuda::attend(q, k, v, options), exact.to(GetParam()));
    }
  }
  // A token that brings its own key and value.
  const at::Tensor joined = drawn({2, 1, 8, 64}, 4), caches = drawn({2, 2, 2, 40, 64}, 5), known = caches.clone();
  const auto heads_of = [&](int64_t from, int64_t count) { return joined.narrow(2, from, count).transpose(1, 2); };
  for (const int64_t length : {33, 39, 7}) {
    ASSERT_TRUE(cuda::can_attend_next(heads_of(0, 4), heads_of(4, 2), heads_of(6, 2), caches[0], caches[1], length));
    const at::Tensor got =
        cuda::attend_next(heads_of(0, 4), heads_of(4, 2), heads_of(6, 2), caches[0], caches[1], length);
    expect_close(got, attend_next(heads_of(0, 4), heads_of(4, 2), heads_of(6, 2), known[0], known[1], length));
    EXPECT_TRUE(caches.equal(known)) << "written into the cache, and nothing else";
  }
  EXPECT_FALSE(cuda::can_attend_next(heads_of(0, 4), heads_of(4, 2), heads_of(6, 2), caches[0], caches[1], 40))
      << "full";
  const at::Tensor q = drawn({1, 4, 1, 64}, 1), k = drawn({1, 2, 8, 64}, 2);
  EXPECT_FALSE(cuda::can_attend(q, k, k, {.mask = Mask::causal}));
  EXPECT_FALSE(cuda::can_attend(q, k, k, {.bias = at::zeros({1, 1, 1, 8})}));
  EXPECT_FALSE(cuda::can_attend(drawn({1, 4, 2, 64}, 1), k, k, {})) << "two tokens";
  EXPECT_FALSE(cuda::can_attend(drawn({1, 34, 1, 64}, 1), drawn({1, 2, 8, 64}, 2), drawn({1, 2, 8, 64}, 2), {}))
      << "17 heads share";
}

INSTANTIATE_TEST_SUITE_P(Types, CudaKernels, ::testing::Values(at::kFloat, at::kHalf, at::kBFloat16),
                         [](const auto& info) { return std::string(c10::toString(info.param)); });

TEST(CudaSource, EveryKernelHasItsText) {
  for (const char* file : {"attention", "linear", "modulation", "norm", "rope"}) {
    const std::string text = cuda::source_of(file);
    EXPECT_NE(text.find("struct RmsNormArguments"), std::string::npos);
    EXPECT_NE(text.find("warp_sum"), std::string::npos);
    EXPECT_NE(text.find("GLM_IMAGE_KERNEL("), std::string::npos);
  }
  EXPECT_ANY_THROW(cuda::source_of("nothing"));
}

}  // namespace
}  // namespace glmimage::kernels
