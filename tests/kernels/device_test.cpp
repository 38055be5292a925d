// Kernels on an accelerator, where GLM_IMAGE_TEST_DEVICE names one (cuda, npu): the twins that its library or this
// program brings, at the published model's widths, against the same kernels in float64 on the processor.
#include "core/device.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/sin.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "core/rng.h"
#include "kernels/attention.h"
#include "kernels/linear.h"
#include "kernels/modulation.h"
#include "kernels/rms_norm.h"
#include "kernels/rope.h"
#include "kernels/swiglu.h"
#include "support/goldens.h"

namespace glmimage::kernels {
namespace {

using Tensors = std::vector<at::Tensor>;

class OnDevice : public ::testing::TestWithParam<at::ScalarType> {
 protected:
  void SetUp() override {
    const char* name = std::getenv("GLM_IMAGE_TEST_DEVICE");
    if (!name || !*name) GTEST_SKIP() << "GLM_IMAGE_TEST_DEVICE names no device";
    device_ = open_device(parse_device(name));
  }
  at::Tensor drawn(at::IntArrayRef shape, uint64_t seed) const {
    return at::randn(shape, make_generator(seed), at::kFloat).to(GetParam());
  }
  // `kernel` of the inputs there, and of the same inputs in float64 here.
  void expect_close(const std::function<Tensors(const Tensors&)>& kernel, const Tensors& inputs) const {
    Tensors there, here;
    for (const at::Tensor& x : inputs) {
      there.push_back(x.to(device_));
      here.push_back(at::isFloatingType(x.scalar_type()) ? x.to(at::kDouble) : x);
    }
    const Tensors got = kernel(there), expected = kernel(here);
    const double tolerance = GetParam() == at::kFloat ? 1e-5 : GetParam() == at::kHalf ? 3e-3 : 2e-2;
    ASSERT_EQ(got.size(), expected.size());
    for (size_t i = 0; i < got.size(); ++i) {
      EXPECT_EQ(got[i].scalar_type(), GetParam());
      EXPECT_EQ(got[i].device(), device_);
      EXPECT_LT(test::relative_error(got[i].cpu(), expected[i]), tolerance) << i;
    }
  }
  at::Device device_ = at::Device(at::kCPU);
};

TEST_P(OnDevice, Norms) {
  const Tensors in = {drawn({1, 5, 4096}, 1), drawn({1, 5, 4096}, 2).mul(4), drawn({4096}, 3), drawn({4096}, 4)};
  expect_close([](const Tensors& t) { return Tensors{rms_norm(t[0], t[2], 1e-5)}; }, in);
  expect_close([](const Tensors& t) { return Tensors{add_normed(t[0], t[1], t[2], 1e-5)}; }, in);
  expect_close(
      [](const Tensors& t) {
        const SumAndNormed out = add_normed_then_norm(t[0], t[1], t[2], t[3], 1e-5);
        return Tensors{out.sum, out.normed};
      },
      in);
}

TEST_P(OnDevice, Modulation) {
  const Tensors in = {drawn({2, 16, 4096}, 1), drawn({2, 100, 4096}, 2), drawn({1, 1, 4 * 4096}, 3),
                      drawn({2, 116, 4096}, 4)};
  expect_close(
      [](const Tensors& t) {
        const auto m = t[2].chunk(4, -1);
        return Tensors{modulated_norm({t[0], m[0], m[1]}, {t[1], m[2], m[3]}, 1e-5),
                       modulated_norm({t[1], m[0], m[1]}, 1e-5)};
      },
      in);
  expect_close(
      [](const Tensors& t) {
        const auto m = t[2].chunk(4, -1);
        const TokenPair out = gated_residual({t[0], m[0]}, {t[1], m[1]}, t[3]);
        return Tensors{out.first, out.second};
      },
      in);
}

TEST_P(OnDevice, Rope) {
  const at::Tensor angles = at::randn({1, 50, 1, 64}, make_generator(3), at::kFloat);
  for (const auto type : {at::kFloat, GetParam()}) {
    const Tensors in = {drawn({2, 50, 34, 128}, 1), angles.cos().to(type), angles.sin().to(type)};
    expect_close(
        [](const Tensors& t) {
          return Tensors{rope(t[0].narrow(2, 0, 32), t[1].narrow(3, 0, 32), t[2].narrow(3, 0, 32))};
        },
        in);
    expect_close([](const Tensors& t) { return Tensors{normed_rope(t[0], 1e-5, t[1], t[2])}; }, in);
  }
}

TEST_P(OnDevice, Swiglu) {
  expect_close([](const Tensors& t) { return Tensors{swiglu(t[0])}; }, {drawn({1, 7, 2 * 13696}, 1)});
}

TEST_P(OnDevice, Products) {
  for (const auto& [out, in] : std::vector<std::pair<int64_t, int64_t>>{{4608, 4096}, {4096, 13696}, {16512, 4096}}) {
    for (const int64_t tokens : {1, 3}) {
      expect_close(
          [](const Tensors& t) {
            return Tensors{linear(t[0], t[1], t[2]), linear(t[0], t[1])};
          },
          {drawn({1, tokens, in}, 1), drawn({out, in}, 2).div(64), drawn({out}, 3)});
    }
  }
}

TEST_P(OnDevice, ProductsOfFewBits) {
  for (const int64_t bits : {8, 4}) {
    for (const int64_t group : {0, 64}) {
      const Quantised few = quantise(at::randn({512, 13696}, make_generator(1), at::kFloat), bits, group);
      for (const int64_t tokens : {1, 40}) {
        expect_close([&](const Tensors& t) { return Tensors{quantised_linear(t[0], t[1], t[2].to(at::kFloat))}; },
                     {drawn({1, tokens, 13696}, 2), few.q, few.scale});
      }
    }
  }
}

TEST_P(OnDevice, AttentionOfOneToken) {
  for (const int64_t keys : {1, 1300}) {
    expect_close([&](const Tensors& t) { return Tensors{attention(t[0], t[1], t[2], {.keys = keys})}; },
                 {drawn({1, 32, 1, 128}, 1), drawn({1, 2, 1400, 128}, 2), drawn({1, 2, 1400, 128}, 3)});
  }
}

TEST_P(OnDevice, AttentionOfTheNextToken) {
  expect_close(
      [](const Tensors& t) {
        const Tensors caches = {t[3].clone(), t[4].clone()};
        const at::Tensor y = attend_next(t[0], t[1], t[2], caches[0], caches[1], 1300);
        return Tensors{y, caches[0], caches[1]};
      },
      {drawn({1, 32, 1, 128}, 1), drawn({1, 2, 1, 128}, 2), drawn({1, 2, 1, 128}, 3), drawn({1, 2, 1400, 128}, 4),
       drawn({1, 2, 1400, 128}, 5)});
}

INSTANTIATE_TEST_SUITE_P(Types, OnDevice, ::testing::Values(at::kFloat, at::kHalf, at::kBFloat16),
                         [](const auto& info) { return std::string(c10::toString(info.param)); });

}  // namespace
}  // namespace glmimage::kernels
