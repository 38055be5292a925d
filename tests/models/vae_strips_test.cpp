#include "models/vae/strips.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/upsample_nearest2d.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <cmath>
#include <utility>
#include <vector>

#include "core/parameters.h"
#include "core/rng.h"
#include "models/vae/bytes.h"
#include "models/vae/vae.h"
#include "models/vae_helpers.h"
#include "support/allocation_peak.h"
#include "support/goldens.h"

namespace glmimage {
namespace {

at::Tensor drawn(at::IntArrayRef shape, uint64_t seed) { return at::randn(shape, make_generator(seed), at::kFloat); }

struct Layers {
  Layers(int64_t in, int64_t out) : norm(4, in, 1e-6), conv(in, out, 3, 1, 1) {
    norm.weight = 1 + 0.3 * drawn({in}, 1), norm.bias = 0.3 * drawn({in}, 2);
    conv.weight = drawn({out, in, 3, 3}, 3) / std::sqrt(9.0 * static_cast<double>(in)), conv.bias = drawn({out}, 4);
  }
  Layers in(at::ScalarType dtype) const {
    Layers other = *this;
    for (at::Tensor* t : {&other.norm.weight, &other.norm.bias, &other.conv.weight, &other.conv.bias})
      *t = t->to(dtype);
    return other;
  }
  at::Tensor plain(const at::Tensor& x) const { return conv(at::silu(norm(x))); }

  GroupNorm norm;
  Conv2d conv;
};

const std::vector<std::vector<int64_t>> kPictures = {{1, 8, 6, 4}, {2, 8, 7, 9}, {3, 8, 1, 2}, {1, 8, 30, 17}};

class Strips : public ::testing::TestWithParam<at::MemoryFormat> {
 protected:
  // Against the plain operators in float64: whole pictures as one strip, and strips of the least height.
  template <typename Got, typename Expected>
  void expect_equal(const Got& got, const Expected& expected) {
    for (const std::vector<int64_t>& sizes : kPictures) {
      const at::Tensor x = 0.5 + drawn(sizes, 5);
      const Layers layers(sizes[1], 12), exact = layers.in(at::kDouble);
      const at::Tensor truth = expected(exact, x.to(at::kDouble));
      for (const StripLimits& limits : {StripLimits{}, StripLimits{.bytes = 1, .least_pixels = 1, .least_rows = 2}}) {
        const at::Tensor y = got(layers, x.contiguous(GetParam()), limits);
        ASSERT_EQ(y.sizes(), truth.sizes());
        EXPECT_TRUE(y.is_contiguous(GetParam())) << x.sizes();
        EXPECT_LT(test::relative_error(y, truth), 1e-6) << x.sizes() << " by " << limits.least_rows;
      }
    }
  }
};

INSTANTIATE_TEST_SUITE_P(Layouts, Strips,
                         ::testing::Values(at::MemoryFormat::Contiguous, at::MemoryFormat::ChannelsLast));

TEST_P(Strips, NormSiluConv) {
  expect_equal([](const Layers& l, const at::Tensor& x,
                  const StripLimits& limits) { return norm_silu_conv(l.norm, l.conv, x, limits); },
               [](const Layers& l, const at::Tensor& x) { return l.plain(x); });
}

TEST_P(Strips, AddNormSiluConv) {
  const auto before = [](const Layers& l, const at::Tensor& x) {
    return drawn({x.size(0), l.conv.out, x.size(2), x.size(3)}, 6).to(x.scalar_type());
  };
  expect_equal(
      [&](const Layers& l, const at::Tensor& x, const StripLimits& limits) {
        at::Tensor sum = before(l, x).contiguous(GetParam());
        add_norm_silu_conv(l.norm, l.conv, x, sum, limits);
        return sum;
      },
      [&](const Layers& l, const at::Tensor& x) { return before(l, x) + l.plain(x); });
}

TEST_P(Strips, DoublingConv) {
  expect_equal(
      [](const Layers& l, const at::Tensor& x, const StripLimits& limits) { return doubling_conv(l.conv, x, limits); },
      [](const Layers& l, const at::Tensor& x) {
        return l.conv(at::upsample_nearest2d(x, {2 * x.size(2), 2 * x.size(3)}));
      });
}

TEST_P(Strips, HalvingConv) {
  expect_equal(
      [](const Layers& l, const at::Tensor& x, const StripLimits& limits) {
        return halving_conv(l.conv, at::constant_pad_nd(x, {0, x.size(3), 0, x.size(2)}), limits);  // even sides
      },
      [](const Layers& l, const at::Tensor& x) {
        const at::Tensor padded = at::constant_pad_nd(x, {0, x.size(3) + 1, 0, x.size(2) + 1});
        return at::conv2d(padded, l.conv.weight, l.conv.bias, {2, 2});
      });
}

// Skips that narrow (in the memory of x), widen and keep the width.
TEST_P(Strips, SkipAndAdd) {
  for (const int64_t wide : {4, 8, 40}) {
    const Conv2d skip = [&] {
      Conv2d conv(wide, 8, 1);
      conv.weight = drawn({8, wide, 1, 1}, 7), conv.bias = drawn({8}, 8);
      return conv;
    }();
    for (const std::vector<int64_t>& sizes : kPictures) {
      const Layers layers(8, 8);
      const at::Tensor x = drawn({sizes[0], wide, sizes[2], sizes[3]}, 5), h = drawn(sizes, 6);
      const at::Tensor truth = skip(x) + layers.plain(h);
      at::Tensor sum = x.clone().contiguous(GetParam());
      skip_and_add(skip, sum, layers.norm, layers.conv, h.contiguous(GetParam()), {1, 1, 2});
      EXPECT_TRUE(sum.is_contiguous(GetParam()));
      EXPECT_LT(test::relative_error(sum, truth), 2e-6) << x.sizes();
      EXPECT_EQ(sum.storage().nbytes(), static_cast<size_t>(sum.nbytes()));
    }
  }
}

TEST(StripLimits, AreHeldTo) {
  const StripLimits limits{.bytes = 30000, .least_pixels = 100, .least_rows = 4};
  EXPECT_EQ(limits.strips(600, 50, 100), 2);
  EXPECT_EQ(limits.strips(601, 50, 100), 3);
  EXPECT_EQ(limits.strips(64, 50, 30000), 16);  // four rows each, though they take more
  EXPECT_EQ(limits.strips(64, 10, 30000), 7);   // a hundred pixels each
  EXPECT_EQ(limits.strips(3, 50, 100), 1);
}

VaeConfig config_of(std::vector<int64_t> widths) {
  VaeConfig config;
  config.widths = std::move(widths);
  config.layers_per_block = 2;
  config.latent_channels = 4;
  config.norm_groups = 4;
  return config;
}

void cast(Vae& vae, at::ScalarType dtype) {
  ParameterList list;
  vae.list(list);
  for (const Parameter& p : list) *p.tensor = p.tensor->to(dtype);
}

// A picture of many strips against the plain road, which autograd takes.
TEST(VaeStrips, LeaveNoSeams) {
  EXPECT_GT(StripLimits().strips(512, 640, 640 * (16 + 16) * 4), 2);
  Vae vae = test::random_vae(config_of({16, 16}));
  const at::Tensor latents = drawn({1, 4, 256, 320}, 2);  // 512 x 640 pixels
  const at::Tensor plain = [&] {
    at::Tensor followed = latents.clone().requires_grad_(true);
    return vae.decode(followed).detach();
  }();
  const c10::InferenceMode inference;
  const at::Tensor picture = vae.decode(latents);
  EXPECT_LT(test::relative_error(picture, plain), 5e-6);
  cast(vae, at::kBFloat16);
  EXPECT_LT(test::relative_error(vae.decode(latents).to(at::kFloat), plain), 0.05);
}

TEST(VaeStrips, BytesArePredicted) {
  const c10::InferenceMode inference;
  for (const std::vector<int64_t>& widths : {std::vector<int64_t>{16, 32, 32}, {8, 32}}) {
    for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
      Vae vae = test::random_vae(config_of(widths));
      cast(vae, dtype);
      for (const auto& [height, width] : {std::pair<int64_t, int64_t>{256, 256}, {512, 640}}) {
        at::Tensor latents = drawn({1, 4, height / vae.config.scale(), width / vae.config.scale()}, 2).to(dtype);
        const test::AllocationPeak decoding;
        vae.decode(latents);
        const auto measured = static_cast<double>(decoding.bytes());
        const auto predicted = static_cast<double>(decode_bytes(vae.config, height, width, dtype));
        EXPECT_NEAR(predicted / measured, 1, 0.1) << widths << dtype << " decode " << height << " x " << width;
      }
      for (const auto& [height, width] : {std::pair<int64_t, int64_t>{256, 256}, {512, 640}}) {
        // As pictures come, values of a pixel side by side.
        at::Tensor pixels = drawn({1, 3, height, width}, 2).to(dtype).contiguous(at::MemoryFormat::ChannelsLast);
        const test::AllocationPeak encoding;
        vae.encode(pixels);
        const auto measured = static_cast<double>(encoding.bytes()) + static_cast<double>(pixels.nbytes());
        const auto predicted = static_cast<double>(encode_bytes(vae.config, height, width, dtype));
        EXPECT_NEAR(predicted / measured, 1, 0.1) << widths << dtype << " encode " << height << " x " << width;
      }
    }
  }
}

}  // namespace
}  // namespace glmimage
