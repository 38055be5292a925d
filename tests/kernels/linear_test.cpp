#include "kernels/linear.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <limits>
#include <optional>
#include <vector>

#include "core/error.h"
#include "core/rng.h"
#include "kernels/cpu/linear.h"
#include "kernels/cpu/rounded_linear.h"
#include "support/goldens.h"

namespace glmimage::kernels {
namespace {

using test::relative_error;

at::Tensor drawn(at::IntArrayRef shape, uint64_t seed) { return at::randn(shape, make_generator(seed), at::kFloat); }

// On one thread and on several; without the history of autograd, as in drawing.
template <typename Check>
void on_threads(const Check& check) {
  const int threads = at::get_num_threads();
  const c10::InferenceMode without_history;
  for (const int count : {1, 3}) {
    at::set_num_threads(count);
    check();
  }
  at::set_num_threads(threads);
}

// Rows that are no multiple of four, widths that are none of sixteen, from one token to more than are streamed.
TEST(Linear, OfBfloat16AddsInFloat32) {
  for (const auto& [tokens, in, out] : std::vector<std::tuple<int64_t, int64_t, int64_t>>{
           {1, 19, 5}, {3, 64, 8}, {8, 300, 301}, {9, 40, 6}, {1, 8, 1}}) {
    const at::Tensor x = drawn({1, tokens, in}, 1).to(at::kBFloat16), w = drawn({out, in}, 2).to(at::kBFloat16);
    const at::Tensor b = drawn({out}, 3).to(at::kBFloat16);
    const at::Tensor plain = at::linear(x.to(at::kDouble), w.to(at::kDouble));
    on_threads([&] {
      EXPECT_EQ(kernels::linear(x, w).scalar_type(), at::kBFloat16);
      // Of the streamed ones nothing but the last rounding is off: half of 2^-7 of the value.
      const at::Tensor off = (kernels::linear(x, w).to(at::kDouble) - plain).abs() - plain.abs() / 256;
      EXPECT_LT(off.max().item<double>(), tokens > 8 ? 0.1 : 1e-5) << tokens << " " << in << " " << out;
      EXPECT_LT(relative_error(kernels::linear(x, w, b), plain + b.to(at::kDouble)), 0.005);
    });
  }
}

TEST(Linear, ViewsAndTransposedWeightsAreTakenToo) {
  const at::Tensor x = drawn({2, 48}, 1).to(at::kBFloat16), w = drawn({48, 24}, 2).to(at::kBFloat16);
  const at::Tensor expected = at::linear(x.to(at::kDouble), w.t().to(at::kDouble));
  const c10::InferenceMode without_history;
  EXPECT_LT(relative_error(kernels::linear(x, w.t()), expected), 0.01);
  EXPECT_LT(relative_error(kernels::linear(at::cat({x, x}, -1).narrow(-1, 48, 48), w.t().contiguous()), expected),
            0.01);
  EXPECT_EQ(kernels::linear(x.narrow(0, 0, 0), w.t().contiguous()).sizes(), at::IntArrayRef({0, 24}));
}

at::Tensor integers(int64_t bits, int64_t out, int64_t in) {
  return bits == 8 ? at::randint(-127, 128, {out, in}, make_generator(4), at::TensorOptions(at::kLong)).to(at::kChar)
                   : at::randint(0, 256, {out, in / 2}, make_generator(4), at::TensorOptions(at::kLong)).to(at::kByte);
}

at::Tensor scales(int64_t out, int64_t groups, at::ScalarType dtype) {
  return (at::rand({out, groups}, make_generator(5), at::TensorOptions(at::kFloat)) + 0.1).to(dtype);
}

TEST(QuantisedLinear, IsItsDefinition) {
  int streamed = 0;
  for (const int64_t bits : {8, 4}) {
    for (const auto& [tokens, in, group, out] :
         std::vector<std::tuple<int64_t, int64_t, int64_t, int64_t>>{{1, 128, 64, 5},
                                                                     {1, 64, 64, 1},
                                                                     {3, 192, 64, 302},
                                                                     {8, 256, 256, 4},
                                                                     {9, 128, 64, 7},
                                                                     {2, 48, 16, 6},
                                                                     {2, 960, 320, 6}}) {
      for (const at::ScalarType kind : {at::kFloat, at::kBFloat16}) {
        const at::Tensor q = integers(bits, out, in), scale = scales(out, in / group, kind);
        const at::Tensor b = drawn({out}, 3), x = drawn({tokens, in}, 1);
        ASSERT_EQ(input_width(q), in);
        // Two values a byte, the first in the low half.
        const at::Tensor values =
            bits == 8
                ? q.to(at::kDouble)
                : at::stack({q.to(at::kLong) % 16, q.to(at::kLong).div(16, "floor")}, -1).flatten(1).to(at::kDouble) -
                      8;
        const at::Tensor w = values * scale.to(at::kDouble).repeat_interleave(group, 1);
        const at::Tensor expected = at::linear(x.to(at::kDouble), w, b.to(at::kDouble));
        on_threads([&] {
          EXPECT_TRUE(dequantise(q, scale, at::kFloat).equal((w).to(at::kFloat)));
          EXPECT_TRUE(dequantise(q, scale, at::kBFloat16).equal(w.to(at::kFloat).to(at::kBFloat16)));
          EXPECT_LT(relative_error(dequantise(q, scale, at::kHalf), w), 1e-3);
          EXPECT_LT(relative_error(quantised_linear(x, q, scale, b), expected), 3e-4) << bits << " " << tokens;
          if (cpu::can_stream_quantised(x, q, scale, b)) {
            const at::Tensor in_floats = cpu::stream_quantised(x, q, scale, b, cpu::Products::floats);
            EXPECT_LT(relative_error(in_floats, expected), 5e-6) << bits << " " << tokens;
            ++streamed;
          }
          const at::Tensor narrow = quantised_linear(x.to(at::kBFloat16), q, scale);
          EXPECT_EQ(narrow.scalar_type(), at::kBFloat16);
          EXPECT_LT(relative_error(narrow, at::linear(x.to(at::kBFloat16).to(at::kDouble), w)), 0.01);
        });
        EXPECT_LT(relative_error(quantised_linear(x, q, scale, b), expected), 2e-6) << "with history";
      }
    }
  }
  EXPECT_GE(streamed, 16);
}

TEST(QuantisedLinear, DoesNotHideWhatIsNoNumber) {
  const c10::InferenceMode without_history;
  for (const int64_t bits : {8, 4}) {
    const at::Tensor q = integers(bits, 5, 128), scale = scales(5, 2, at::kBFloat16);
    for (const float value : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      const at::Tensor x = drawn({2, 128}, 1);
      x[0][70] = value;
      const at::Tensor y = quantised_linear(x, q, scale);
      EXPECT_FALSE(y[0].isfinite().any().item<bool>());
      EXPECT_TRUE(y[1].isfinite().all().item<bool>());
    }
    const at::Tensor nothing = quantised_linear(at::zeros({1, 128}), q, scale);
    EXPECT_EQ(nothing.abs().max().item<double>(), 0);
    // The smallest numbers there are do not divide by zero.
    EXPECT_TRUE(quantised_linear(at::full({1, 128}, 1e-44F), q, scale).isfinite().all().item<bool>());
  }
}

// What products of bytes make of x (T, in): each token in steps of its largest value / 127.
at::Tensor rounded_tokens(const at::Tensor& x) {
  const at::Tensor step = x.to(at::kDouble).abs().amax({-1}, true) / 127;
  return (x.to(at::kDouble) / step).round() * step;
}

TEST(QuantisedLinear, RoundsManyTokensWhereARowHasOneScale) {
  for (const auto& [tokens, in, out] :
       std::vector<std::tuple<int64_t, int64_t, int64_t>>{{9, 64, 5}, {40, 320, 70}, {33, 100, 300}, {5000, 24, 300}}) {
    const at::Tensor q = integers(8, out, in), b = drawn({out}, 3);
    const at::Tensor x = drawn({tokens, in}, 1).view({1, tokens, in});
    for (const at::ScalarType kind : {at::kFloat, at::kBFloat16}) {
      const at::Tensor scale = scales(out, 1, kind), w = q.to(at::kDouble) * scale.to(at::kDouble);
      if (!cpu::can_round_tokens(x, q, scale, b)) GTEST_SKIP() << "no products of bytes here";
      on_threads([&] {
        const at::Tensor expected = at::linear(rounded_tokens(x), w, b.to(at::kDouble));
        // Few values lie halfway between two integers, and fall to the other side than in float64.
        EXPECT_LT(relative_error(quantised_linear(x, q, scale, b), expected), 1e-4)
            << tokens << " " << in << " " << out;
        const at::Tensor narrow = x.to(at::kBFloat16);
        const at::Tensor y = quantised_linear(narrow, q, scale);
        EXPECT_EQ(y.scalar_type(), at::kBFloat16);
        EXPECT_LT(relative_error(y, at::linear(rounded_tokens(narrow), w)), 0.005);
        EXPECT_LT(relative_error(y, at::linear(narrow.to(at::kDouble), w)), 0.02) << "of what was asked for";
      });
    }
  }
}

TEST(QuantisedLinear, RoundedTokensDoNotHideWhatIsNoNumber) {
  const c10::InferenceMode without_history;
  const at::Tensor q = integers(8, 70, 96), scale = scales(70, 1, at::kBFloat16);
  for (const float value : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    for (const at::ScalarType kind : {at::kFloat, at::kBFloat16}) {
      const at::Tensor x = drawn({20, 96}, 1).to(kind);
      x[3][70] = value;
      x[4].zero_();
      const at::Tensor y = quantised_linear(x, q, scale);
      EXPECT_FALSE(y[3].isfinite().any().item<bool>());
      EXPECT_EQ(y[4].abs().max().item<double>(), 0);
      EXPECT_TRUE(y.narrow(0, 5, 15).isfinite().all().item<bool>());
    }
  }
}

TEST(QuantisedLinear, HasTheGradientOfItsInput) {
  const at::Tensor q = integers(4, 6, 128), scale = scales(6, 2, at::kBFloat16), weights = drawn({2, 6}, 7);
  const at::Tensor x = drawn({2, 128}, 1).requires_grad_(true);
  const auto grads = torch::autograd::grad({quantised_linear(x, q, scale)}, {x}, {weights});
  EXPECT_LT(relative_error(grads[0], weights.matmul(dequantise(q, scale, at::kFloat))), 1e-6);
}

TEST(QuantisedLinear, RefusesWhatDoesNotFit) {
  const c10::InferenceMode without_history;
  const at::Tensor q = integers(8, 4, 64), scale = scales(4, 1, at::kFloat);
  EXPECT_THROW(quantised_linear(drawn({1, 63}, 1), q, scale), Error);
  EXPECT_THROW(quantised_linear(drawn({1, 64}, 1), q, scales(5, 1, at::kFloat)), Error);
  EXPECT_THROW(quantised_linear(drawn({1, 64}, 1), q, scales(4, 3, at::kFloat)), Error);
}

double error_of(const at::Tensor& w, const Quantised& few) {
  const at::Tensor off = dequantise(few.q, few.scale, at::kFloat) - w;
  return (off.square().sum() / w.square().sum()).sqrt().item<double>();
}

TEST(Quantise, IsNear) {
  const at::Tensor w = drawn({300, 256}, 1);
  EXPECT_LT(error_of(w, quantise(w, 8, 64)), 0.007);
  EXPECT_LT(error_of(w, quantise(w, 8, 0)), 0.01);
  EXPECT_LT(error_of(w, quantise(w, 4, 64)), 0.11);
  EXPECT_LT(error_of(w, quantise(w.to(at::kBFloat16), 8, 64)), 0.008);
  // The search finds no worse a scale than the one that reaches the largest value.
  const at::Tensor groups = w.view({300, 4, 64}), reach = (groups.abs().amax({-1}, true) / 7).to(at::kBFloat16);
  const at::Tensor wide = reach.to(at::kFloat);
  const at::Tensor simple = ((groups / wide).round().clamp(-8, 7) * wide).view({300, 256}) - w;
  EXPECT_LT(error_of(w, quantise(w, 4, 64)), 0.97 * (simple.square().sum() / w.square().sum()).sqrt().item<double>());
}

TEST(Quantise, KeepsWhatItCanSayExactly) {
  const at::Tensor w = at::tensor({-7.0F, 7.0F, 0.0F, 3.0F, -1.0F, 2.0F, -3.0F, 5.0F}).view({1, 8}) / 4;
  const Quantised few = quantise(w, 4, 8);
  EXPECT_TRUE(dequantise(few.q, few.scale, at::kFloat).equal(w));
  EXPECT_EQ(few.q.sizes(), at::IntArrayRef({1, 4}));
  EXPECT_EQ(few.q[0][0].item<int64_t>(), (15 << 4) | 1) << "-7 in the low half, 7 in the high one, each plus 8";
  const Quantised nothing = quantise(at::zeros({3, 64}), 8, 64);
  EXPECT_EQ(dequantise(nothing.q, nothing.scale, at::kFloat).abs().max().item<double>(), 0);
}

// Errors of the inputs that matter shrink, at the cost of the others.
TEST(Quantise, MindsWhatMatters) {
  const at::Tensor w = drawn({200, 64}, 1).pow(3);  // few large values: cutting them off is a choice
  at::Tensor importance = at::zeros({64}) + 0.01;
  importance.narrow(0, 0, 8).fill_(100);
  const auto error_there = [&](const Quantised& few) {
    return (dequantise(few.q, few.scale, at::kFloat) - w).narrow(1, 0, 8).square().sum().item<double>();
  };
  EXPECT_LT(error_there(quantise(w, 4, 64, importance)), 0.8 * error_there(quantise(w, 4, 64)));
}

TEST(Quantise, RefusesWhatCannotBe) {
  EXPECT_THROW(quantise(drawn({2, 64}, 1), 5, 64), Error);
  EXPECT_THROW(quantise(drawn({2, 65}, 1), 8, 64), Error);
  EXPECT_THROW(quantise(drawn({2, 7}, 1), 4, 0), Error);
}

}  // namespace
}  // namespace glmimage::kernels
