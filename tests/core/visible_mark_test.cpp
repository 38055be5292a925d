#include "core/visible_mark.h"

#include <gmock/gmock.h>

#include "core/error.h"

namespace glmimage {
namespace {

Image plain(int64_t width, int64_t height, uint8_t value) {
  return {width, height, std::vector<uint8_t>(static_cast<size_t>(3 * width * height), value)};
}

uint8_t at(const Image& image, int64_t x, int64_t y) {
  return image.pixels[static_cast<size_t>(3 * (y * image.width + x))];
}

// Where pixels are nearly white.
struct Box {
  int64_t left, top, right, bottom;
};
Box white_box(const Image& image, int64_t from_x, int64_t to_x) {
  Box box{image.width, image.height, -1, -1};
  for (int64_t y = 0; y < image.height; ++y) {
    for (int64_t x = from_x; x < to_x; ++x) {
      if (at(image, x, y) < 170) continue;
      box = {std::min(box.left, x), std::min(box.top, y), std::max(box.right, x), std::max(box.bottom, y)};
    }
  }
  return box;
}

TEST(VisibleMark, SignsAreHighEnough) {
  for (const auto& [width, height] :
       {std::pair<int64_t, int64_t>{1024, 1024}, {1728, 960}, {320, 200}, {128, 128}, {64, 48}}) {
    Image image = plain(width, height, 90);
    draw_visible_mark(image);
    const Box all = white_box(image, 0, width);
    EXPECT_GT(all.left, width / 2 - 24) << "in the right half";
    EXPECT_GT(all.top, height / 2) << "in the lower half";
    // The A is the lowest sign, and the first.
    const int64_t sign = (all.right - all.left) / 5;
    const Box a = white_box(image, all.left, all.left + sign);
    EXPECT_GE(20 * (a.bottom - a.top + 1), std::min(width, height)) << width << " x " << height;
    EXPECT_GE(a.bottom - a.top + 1, 8);
  }
}

TEST(VisibleMark, StandsOutOnAnyGround) {
  for (const uint8_t ground : {0, 90, 255}) {
    Image image = plain(256, 256, ground);
    draw_visible_mark(image);
    int64_t white = 0, dark = 0;
    for (int64_t y = 256 - 20; y < 256; ++y) {
      for (int64_t x = 256 - 50; x < 256; ++x)
        (at(image, x, y) > 230 ? white : dark) += at(image, x, y) > 230 || at(image, x, y) < 120;
    }
    EXPECT_GT(white, 100) << int{ground};
    EXPECT_GT(dark, 300) << int{ground};
    EXPECT_EQ(at(image, 100, 100), ground) << "the rest is untouched";
  }
}

TEST(VisibleMark, NeedsRoom) {
  for (const auto& [width, height] : {std::pair<int64_t, int64_t>{32, 200}, {200, 10}, {1, 1}}) {
    try {
      require_room_for_mark(width, height);
      ADD_FAILURE() << width << " x " << height;
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::usage);
      EXPECT_THAT(e.what(), ::testing::HasSubstr("no room for the visible mark"));
    }
  }
  for (int64_t side = 48; side < 2000; side += 13) EXPECT_NO_THROW(require_room_for_mark(side, side)) << side;
}

}  // namespace
}  // namespace glmimage
