#include "train/data/buckets.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "train/data/data_helpers.h"
#include "train/data/framing.h"

namespace glmimage::train {
namespace {

using ::testing::ElementsAre;

DataConfig with_areas(std::vector<int64_t> areas) {
  DataConfig config;
  config.areas = std::move(areas);
  return config;
}

TEST(Buckets, HaveSidesOfWholeTokensAndNearlyTheArea) {
  for (int64_t side : {32, 128, 256, 512, 1024}) {
    const BucketTable table(with_areas({side}));
    const auto& buckets = table.of_area(side);
    EXPECT_NE(std::find(buckets.begin(), buckets.end(), Bucket{side, side}), buckets.end());
    for (const Bucket& bucket : buckets) {
      EXPECT_EQ(bucket.width % 32 + bucket.height % 32, 0);
      EXPECT_LE(std::max(bucket.width, bucket.height), 2 * std::min(bucket.width, bucket.height));
      EXPECT_NEAR(static_cast<double>(bucket.width * bucket.height) / static_cast<double>(side * side), 1.0, 0.126);
      EXPECT_NE(std::find(buckets.begin(), buckets.end(), Bucket{bucket.height, bucket.width}), buckets.end());
    }
  }
  EXPECT_THAT(BucketTable(with_areas({128})).of_area(128),
              ElementsAre(Bucket{96, 160}, Bucket{96, 192}, Bucket{128, 128}, Bucket{160, 96}, Bucket{192, 96}));
}

TEST(Buckets, TheNearestByLogAspect) {
  const BucketTable table(with_areas({128}));  // 0.5, 0.6, 1, 1.667, 2
  EXPECT_EQ(table.choose({128, 128}), (Bucket{128, 128}));
  EXPECT_EQ(table.choose({4000, 3150}), (Bucket{128, 128}));  // 1.27 is below sqrt(1.667) = 1.291
  EXPECT_EQ(table.choose({4000, 3050}), (Bucket{160, 96}));   // 1.31 is above
  EXPECT_EQ(table.choose({3050, 4000}), (Bucket{96, 160}));
  EXPECT_EQ(table.choose({9000, 300}), (Bucket{192, 96}));
}

TEST(Buckets, TheLargestAreaThatIsFilled) {
  DataConfig config = with_areas({512, 128, 256});
  const BucketTable table(config);
  EXPECT_EQ(table.choose({600, 600}), (Bucket{512, 512}));
  EXPECT_EQ(table.choose({512, 512}), (Bucket{512, 512}));
  EXPECT_EQ(table.choose({511, 511}), (Bucket{256, 256}));
  EXPECT_EQ(table.choose({40, 40}), (Bucket{128, 128}));  // enlarged
  config.small_pictures = SmallPicture::skip;
  EXPECT_EQ(BucketTable(config).choose({40, 40}), std::nullopt);
  EXPECT_EQ(BucketTable(config).choose({128, 128}), (Bucket{128, 128}));
}

TEST(Buckets, AWindowIsSquare) {
  DataConfig config = with_areas({64});
  config.fit = Fit::window;
  EXPECT_THAT(BucketTable(config).of_area(64), ElementsAre(Bucket{64, 64}));
}

std::vector<int> pixel(const Image& image, int64_t x, int64_t y) {
  const auto* at = image.pixels.data() + 3 * (y * image.width + x);
  return {at[0], at[1], at[2]};
}

TEST(Framing, CoversAndCutsTheMiddle) {
  const Framing wide = plan_framing({200, 100}, {64, 64}, Fit::cover, {});
  EXPECT_EQ(wide.resized, (PictureSize{128, 64}));
  EXPECT_EQ(wide.x, 32);
  EXPECT_EQ(wide.y, 0);
  const Framing tall = plan_framing({100, 333}, {64, 96}, Fit::cover, {});
  EXPECT_EQ(tall.resized, (PictureSize{64, 213}));
  EXPECT_EQ(tall.y, 59);
  const Framing small = plan_framing({10, 10}, {64, 96}, Fit::cover, {});
  EXPECT_EQ(small.resized, (PictureSize{96, 96}));
  const Image image = frame_picture(test::placed(200, 100), {64, 64}, Fit::cover, {}).image;
  EXPECT_EQ(image.width, 64);
  EXPECT_EQ(image.height, 64);
  EXPECT_NEAR(pixel(image, 0, 0)[0], 50, 2);  // x = 32 of 128 is x = 50 of 200
}

TEST(Framing, CoveringNeverFallsShort) {
  for (int64_t width = 1; width < 400; width += 7) {
    for (int64_t height = 1; height < 400; height += 11) {
      for (Bucket bucket : {Bucket{64, 64}, Bucket{160, 96}}) {
        const Framing framing = plan_framing({width, height}, bucket, Fit::cover, {0.999999, 0.999999});
        ASSERT_TRUE(framing.resized.width == bucket.width || framing.resized.height == bucket.height);
        ASSERT_EQ(framing.x + bucket.width, framing.resized.width);
        ASSERT_EQ(framing.y + bucket.height, framing.resized.height);
      }
    }
  }
}

TEST(Framing, StretchKeepsEverything) {
  const FramedPicture framed = frame_picture(test::placed(200, 100), {64, 64}, Fit::stretch, {0.9, 0.9});
  EXPECT_EQ(framed.framing.x + framed.framing.y, 0);
  EXPECT_NEAR(pixel(framed.image, 0, 0)[0], 1, 2);
  EXPECT_NEAR(pixel(framed.image, 63, 63)[0], 198, 2);
}

TEST(Framing, AWindowHasThePicturesOwnPixels) {
  const Image picture = test::placed(200, 100, 9);
  const FramedPicture first = frame_picture(picture, {64, 64}, Fit::window, {0, 0});
  EXPECT_EQ(pixel(first.image, 0, 0), (std::vector<int>{0, 0, 9}));
  const FramedPicture last = frame_picture(picture, {64, 64}, Fit::window, {0.99999, 0.99999});
  EXPECT_EQ(pixel(last.image, 63, 63), (std::vector<int>{199, 99, 9}));
  EXPECT_EQ(last.framing.x, 136);
  EXPECT_EQ(last.framing.y, 36);
  const FramedPicture small = frame_picture(test::placed(20, 40), {64, 64}, Fit::window, {});
  EXPECT_EQ(small.framing.resized, (PictureSize{64, 128}));
}

TEST(Framing, Mirrors) {
  const Image picture = test::placed(96, 70);
  const Image plain = frame_picture(picture, {96, 64}, Fit::window, {0.5, 0.5, false}).image;
  const Image mirrored = frame_picture(picture, {96, 64}, Fit::window, {0.5, 0.5, true}).image;
  for (int64_t x : {0, 1, 47, 48, 95}) EXPECT_EQ(pixel(mirrored, x, 5), pixel(plain, 95 - x, 5));
}

}  // namespace
}  // namespace glmimage::train
