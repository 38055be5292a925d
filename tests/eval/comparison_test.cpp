#include "eval/comparison.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "core/error.h"
#include "support/goldens.h"

namespace glmimage::eval {
namespace {

using ::testing::HasSubstr;

Image grey(uint8_t value) { return {.width = 2, .height = 2, .pixels = std::vector<uint8_t>(12, value)}; }

TEST(Comparison, PsnrOfEightBits) {
  EXPECT_NEAR(psnr(grey(0), grey(255)), 0, 1e-12);
  EXPECT_NEAR(psnr(grey(100), grey(110)), 20 * std::log10(25.5), 1e-9);
  EXPECT_TRUE(std::isinf(psnr(grey(7), grey(7))));
  Image wide = grey(7);
  wide.width = 1;
  EXPECT_THROW(psnr(grey(7), wide), Error);
}

TEST(Comparison, QuantilesAndText) {
  Comparison c;
  for (int i = 10; i >= 1; --i) c.pictures.push_back({"p", 1, 10.0 * i});
  EXPECT_EQ(c.psnr_quantile(0), 10);
  EXPECT_EQ(c.psnr_quantile(0.1), 10);
  EXPECT_EQ(c.psnr_quantile(0.5), 50);
  EXPECT_EQ(c.psnr_quantile(1), 100);
  EXPECT_THAT(c.text(), HasSubstr("10 pictures"));
  EXPECT_THAT(c.text(), HasSubstr("median 50.0 dB"));
  EXPECT_FALSE(c.to_json().contains("scores"));
  c.pictures.resize(1);
  c.pictures[0].psnr = std::numeric_limits<double>::infinity();
  EXPECT_THAT(c.text(), HasSubstr("median equal"));
  EXPECT_TRUE(c.to_json()["psnr"]["median"].is_null());
}

// A checkpoint beside itself: nothing changes, and both sides are scored alike.
TEST(Comparison, OfACheckpointWithItself) {
  const PipelineOptions model{
      .model = test::golden("tiny_a/checkpoint"), .device = at::Device(at::kCPU), .dtype = at::kFloat, .loras = {}};
  ComparisonOptions options{.before = model, .after = model, .prompts = {"a cat", "a dog"}};
  options.steps = 1;
  int64_t told = 0, all = 0;
  const Comparison same = compare(options, nullptr, [&](int64_t done, int64_t total) { told = done, all = total; });
  EXPECT_EQ(told, 4);
  EXPECT_EQ(all, 4);
  ASSERT_EQ(same.pictures.size(), 2U);
  EXPECT_EQ(same.pictures[1].prompt, "a dog");
  EXPECT_EQ(same.pictures[1].seed, 2U);
  EXPECT_TRUE(std::isinf(same.psnr_quantile(0)));
  EXPECT_FALSE(same.scores);

  // In another type the pictures are others: the options' type counts for the second as well.
  options.after.dtype = at::kBFloat16;
  EXPECT_TRUE(std::isinf(compare(options).psnr_quantile(0)));
  options.prompts.clear();
  EXPECT_THROW(compare(options), Error);
}

}  // namespace
}  // namespace glmimage::eval
