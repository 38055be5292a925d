#include "core/encode_image.h"

#include <gmock/gmock.h>

#include <cmath>

#include "core/image_helpers.h"
#include "core/srgb_profile.h"
#include "support/error_of.h"

namespace glmimage {
namespace {

using test::Bytes;
using test::error_of;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr PictureFormat kFormats[] = {PictureFormat::png, PictureFormat::jpeg, PictureFormat::webp};

// Soft colours, as pictures have them.
Image waves(int64_t width, int64_t height) {
  Image image{width, height, {}};
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      for (const double phase : {0.0, 2.0, 4.0}) {
        const double value = std::sin(0.07 * static_cast<double>(x) + phase) * std::cos(0.05 * static_cast<double>(y));
        image.pixels.push_back(static_cast<uint8_t>(127.5 + 127.5 * value));
      }
    }
  }
  return image;
}

double mean_difference(const Image& a, const Image& b) {
  EXPECT_EQ(a.pixels.size(), b.pixels.size());
  double sum = 0;
  for (size_t i = 0; i < a.pixels.size(); ++i) sum += std::abs(a.pixels[i] - b.pixels[i]);
  return sum / static_cast<double>(a.pixels.size());
}

TEST(EncodeImage, EveryFormatComesBack) {
  const Image image = waves(90, 61);
  for (const PictureFormat format : kFormats) {
    const Bytes bytes = encode_image(image, {.format = format});
    const Image back = decode_image(bytes, "back");
    EXPECT_EQ(back.width, 90);
    EXPECT_EQ(back.height, 61);
    EXPECT_LT(mean_difference(image, back), format == PictureFormat::png ? 1e-9 : 2.5) << picture_format_name(format);
    EXPECT_EQ(bytes, encode_image(image, {.format = format})) << "the same picture, other bytes";
  }
}

TEST(EncodeImage, QualityIsNearnessAndBytes) {
  const Image image = waves(120, 120);
  for (const PictureFormat format : {PictureFormat::jpeg, PictureFormat::webp}) {
    const Bytes low = encode_image(image, {.format = format, .quality = 10});
    const Bytes high = encode_image(image, {.format = format, .quality = 95});
    EXPECT_LT(low.size(), high.size());
    EXPECT_GT(mean_difference(image, decode_image(low, "low")), mean_difference(image, decode_image(high, "high")));
  }
  const Image noisy = test::gradient(50, 40);
  EXPECT_EQ(decode_image(encode_image(noisy, {.format = PictureFormat::webp, .quality = 100}), "all").pixels,
            noisy.pixels);
  EXPECT_EQ(decode_image(encode_image(noisy, {.format = PictureFormat::jpeg, .quality = 0}), "none").width, 50);
}

// A signal of one pixel's colour against its neighbours' at full resolution.
TEST(EncodeImage, JpegOfHighQualityKeepsColoursWhole) {
  Image stripes{64, 64, {}};
  for (int i = 0; i < 64 * 64; ++i) {
    const bool odd = i % 2 == 1;
    for (const int value : {odd ? 200 : 40, 90, odd ? 40 : 200}) stripes.pixels.push_back(static_cast<uint8_t>(value));
  }
  const auto difference = [&](int quality) {
    const Bytes bytes = encode_image(stripes, {.format = PictureFormat::jpeg, .quality = quality});
    return mean_difference(stripes, decode_image(bytes, "stripes"));
  };
  EXPECT_LT(difference(kDefaultQuality), 5);
  EXPECT_GT(difference(kDefaultQuality - 1), 20);
}

bool holds(const Bytes& bytes, const std::string& text) {
  return std::string(bytes.begin(), bytes.end()).find(text) != std::string::npos;
}

TEST(EncodeImage, SaysThatItIsSrgb) {
  const std::string profile(srgb_profile().begin(), srgb_profile().end());
  EXPECT_LT(profile.size(), 1000U);
  for (const PictureFormat format : {PictureFormat::jpeg, PictureFormat::webp}) {
    EXPECT_TRUE(holds(encode_image(waves(9, 9), {.format = format}), profile)) << picture_format_name(format);
  }
  EXPECT_TRUE(holds(encode_image(waves(9, 9)), "iCCPsRGB"));  // compressed
}

TEST(EncodeImage, RefusesWhatDoesNotFit) {
  EXPECT_THAT(error_of(ErrorKind::internal, [] { encode_image(Image{}); }), HasSubstr("0 x 0"));
  EXPECT_THAT(error_of(ErrorKind::internal, [] { encode_image(Image{2, 2, {1, 2, 3}}); }), HasSubstr("3 bytes"));
  const Image long_one{70'000, 1, Bytes(3 * 70'000)};
  EXPECT_THAT(error_of(ErrorKind::usage, [&] { encode_image(long_one, {.format = PictureFormat::jpeg}); }),
              AllOf(HasSubstr("70000 x 1"), HasSubstr("jpeg"), HasSubstr("65500")));
  EXPECT_THAT(error_of(ErrorKind::usage, [&] { encode_image(long_one, {.format = PictureFormat::webp}); }),
              HasSubstr("16383"));
  EXPECT_FALSE(encode_image(long_one).empty());
  for (const int quality : {-1, 101}) {
    EXPECT_THAT(error_of(ErrorKind::usage, [&] { encode_image(waves(2, 2), {.quality = quality}); }),
                HasSubstr("between 0 and 100"));
  }
}

TEST(PictureFormat, IsToldByNameAndSuffix) {
  EXPECT_EQ(parse_picture_format("PNG"), PictureFormat::png);
  EXPECT_EQ(parse_picture_format("jpg"), PictureFormat::jpeg);
  EXPECT_EQ(picture_format_of("a/b.c/猫.JPEG"), PictureFormat::jpeg);
  EXPECT_EQ(picture_format_of("x.webp"), PictureFormat::webp);
  EXPECT_THAT(error_of(ErrorKind::usage, [] { parse_picture_format("gif"); }), HasSubstr("'gif'"));
  EXPECT_THAT(error_of(ErrorKind::usage, [] { picture_format_of("a.gif"); }),
              AllOf(HasSubstr("a.gif"), HasSubstr(".webp")));
  EXPECT_THAT(error_of(ErrorKind::usage, [] { picture_format_of("a"); }), HasSubstr(".png"));
  for (const PictureFormat format : kFormats) EXPECT_EQ(parse_picture_format(picture_format_name(format)), format);
}

}  // namespace
}  // namespace glmimage
