#include "core/resize.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>

#include "core/error.h"
#include "core/safetensors.h"
#include "support/goldens.h"

namespace glmimage {
namespace {

TEST(Resize, EqualsPillowBitForBit) {
  const auto goldens = SafetensorsFile::open(test::golden("resize.safetensors"));
  int compared = 0;
  for (const TensorInfo& info : goldens.tensors()) {
    char filter[16];
    long long from_width, from_height, width, height;
    if (std::sscanf(info.name.c_str(), "%15[a-z].%lldx%lld.%lldx%lld", filter, &from_width, &from_height, &width,
                    &height) != 5) {
      continue;  // an input
    }
    const Image input = from_tensor(goldens.tensor(concat("in.", from_width, "x", from_height)));
    const Filter kind = std::string(filter) == "bicubic" ? Filter::bicubic : Filter::lanczos;
    const Image expected = from_tensor(goldens.tensor(info.name));  // (height, width, 3)
    const Image got = resize(input, width, height, kind);
    EXPECT_EQ(got.width, expected.width);
    EXPECT_EQ(got.height, expected.height);
    EXPECT_TRUE(got.pixels == expected.pixels) << info.name;
    ++compared;
  }
  EXPECT_GE(compared, 20);
}

TEST(Resize, KeepsFlatColours) {
  const Image flat{31, 17, std::vector<uint8_t>(31 * 17 * 3, 201)};
  for (Filter filter : {Filter::bicubic, Filter::lanczos}) {
    for (int64_t width : {1, 30, 31, 97}) {
      const Image out = resize(flat, width, 40 - width / 3, filter);
      EXPECT_TRUE(std::all_of(out.pixels.begin(), out.pixels.end(), [](uint8_t v) { return v == 201; })) << width;
    }
  }
}

TEST(Resize, SameSizeIsACopy) {
  const Image image{2, 1, {1, 2, 3, 4, 5, 6}};
  EXPECT_EQ(resize(image, 2, 1, Filter::lanczos).pixels, image.pixels);
}

TEST(Resize, RefusesEmptySizes) {
  const Image image{1, 1, {1, 2, 3}};
  EXPECT_THROW(resize(image, 0, 1, Filter::bicubic), Error);
  EXPECT_THROW(resize(image, 1, -1, Filter::bicubic), Error);
  EXPECT_THROW(resize(Image{}, 1, 1, Filter::bicubic), Error);
}

}  // namespace
}  // namespace glmimage
