#include "core/picture_metadata.h"

#include <gmock/gmock.h>

#include "core/exif.h"
#include "core/image_codecs.h"
#include "core/image_helpers.h"
#include "core/xmp.h"

namespace glmimage {
namespace {

using test::Bytes;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr PictureFormat kFormats[] = {PictureFormat::png, PictureFormat::jpeg, PictureFormat::webp};

PictureMetadata everything() {
  return {.parameters = "猫 \"OPEN\" <&> Straße 🦊\nSteps: 50, Seed: 7",
          .recipe = R"({"prompt":"\u732b <&> ]]> \"OPEN\""})",
          .aigc_label = R"({"Label":"1","ContentProducer":"me","ProduceID":"a-1"})",
          .digital_source_type = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia",
          .creator_tool = "glm-image 0.1.0"};
}

FoundMetadata read(const Bytes& bytes) { return read_metadata(bytes, "cat"); }

TEST(PictureMetadata, ComesBackFromEveryFormat) {
  for (const PictureFormat format : kFormats) {
    const Bytes bytes = encode_image(test::gradient(20, 9), {.format = format, .metadata = everything()});
    const FoundMetadata found = read(bytes);
    EXPECT_EQ(found.format, format);
    EXPECT_THAT(found.faults, IsEmpty());
    EXPECT_EQ(found.metadata, everything()) << picture_format_name(format) << ": " << found.metadata.parameters;
    EXPECT_EQ(decode_image(bytes, "cat").width, 20);
  }
}

TEST(PictureMetadata, ComesBackWithoutALabel) {
  PictureMetadata metadata = everything();
  metadata.aigc_label.clear();
  for (const PictureFormat format : kFormats) {
    const FoundMetadata found = read(encode_image(test::gradient(9, 9), {.format = format, .metadata = metadata}));
    EXPECT_EQ(found.metadata, metadata) << picture_format_name(format);
  }
}

TEST(PictureMetadata, NothingIsNothing) {
  for (const PictureFormat format : kFormats) {
    const FoundMetadata found = read(encode_image(test::gradient(9, 9), {.format = format}));
    EXPECT_TRUE(found.metadata.empty());
    EXPECT_THAT(found.faults, IsEmpty());
  }
}

}  // namespace
}  // namespace glmimage
