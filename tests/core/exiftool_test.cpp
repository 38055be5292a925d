// What an independent reader, exiftool, finds in our files.
#include <gmock/gmock.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "core/encode_image.h"
#include "core/image_helpers.h"
#include "support/goldens.h"
#include "support/process.h"

namespace glmimage {
namespace {

using nlohmann::json;

bool has_exiftool() {
  return test::run_process(
             {.arguments = {"/usr/bin/env", "exiftool", "-ver"}, .environment = {}, .input = {}, .folder = {}})
             .exit_code == 0;
}

// exiftool's -json, keys "Group:Tag".
json exiftool(const std::filesystem::path& file) {
  const auto result =
      test::run_process({.arguments = {"/usr/bin/env", "exiftool", "-json", "-G1", "-n", "-b", "-validate", "-warning",
                                       "-charset", "exif=utf8", "-all", "-api", "structFormat=jsonq", file.string()},
                         .environment = {},
                         .input = {},
                         .folder = {}});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  return json::parse(result.out).at(0);
}

const PictureMetadata kMetadata = {
    .parameters = "猫 \"OPEN\" <&> 🦊\nSteps: 50, Seed: 7",
    .recipe = R"({"prompt":"\u732b <&> ]]>"})",
    .aigc_label = R"({"Label":"1","ContentProducer":"001191","ProduceID":"a-1","ReservedCode1":""})",
    .digital_source_type = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia",
    .creator_tool = "glm-image 0.1.0"};

class Exiftool : public ::testing::TestWithParam<PictureFormat> {
 protected:
  void SetUp() override {
    if (!has_exiftool())
      GTEST_SKIP() << "exiftool is not installed (Debian: libimage-exiftool-perl; scripts/bootstrap --dev)";
  }
  json read(const PictureMetadata& metadata) const {
    const auto file = test::scratch_folder() / (std::string("a.") + picture_format_name(GetParam()));
    save_image(file, test::gradient(40, 30), {.format = GetParam(), .metadata = metadata});
    return exiftool(file);
  }
};

TEST_P(Exiftool, FindsTheLabels) {
  const json found = read(kMetadata);
  EXPECT_EQ(found.value("XMP-iptcExt:DigitalSourceType", ""), kMetadata.digital_source_type) << found.dump(1);
  EXPECT_EQ(found.value("XMP-xmp:CreatorTool", ""), kMetadata.creator_tool);
  // exiftool spells tags it does not know with one capital.
  EXPECT_EQ(found.value("XMP-TC260:Aigc", ""), kMetadata.aigc_label) << found.dump(1);
  EXPECT_EQ(found.value("ICC_Profile:ProfileDescription", found.value("ICC-header:ProfileDescription", "")),
            "sRGB built-in");
  if (GetParam() == PictureFormat::png) {
    EXPECT_EQ(found.value("PNG:AIGC", ""), kMetadata.aigc_label);
  } else {
    EXPECT_EQ(found.value("ExifIFD:UserComment", ""), "{\"AIGC\":" + kMetadata.aigc_label + "}");
    EXPECT_EQ(found.value("ExifIFD:ColorSpace", 0), 1);
    EXPECT_EQ(found.value("IFD0:Software", ""), kMetadata.creator_tool);
  }
}

TEST_P(Exiftool, FindsTheRecipe) {
  const json found = read(kMetadata);
  if (GetParam() == PictureFormat::png) {
    EXPECT_EQ(found.value("PNG:Parameters", ""), kMetadata.parameters);
    EXPECT_EQ(found.value("PNG:Glm-image", ""), kMetadata.recipe) << found.dump(1);
  } else {
    EXPECT_EQ(found.value("IFD0:ImageDescription", ""), kMetadata.parameters);
    EXPECT_EQ(found.value("XMP-glmimage:Recipe", ""), kMetadata.recipe) << found.dump(1);
    PictureMetadata unlabelled = kMetadata;
    unlabelled.aigc_label.clear();
    EXPECT_EQ(read(unlabelled).value("ExifIFD:UserComment", ""), kMetadata.parameters);
  }
}

TEST_P(Exiftool, FindsNothingWrong) {
  PictureMetadata metadata = kMetadata;
  for (const size_t bytes : {10, 200'000}) {
    metadata.recipe = "{\"prompt\":\"" + std::string(bytes, 'x') + "\"}";
    const json found = read(metadata);
    for (const auto& [key, value] : found.items()) {
      EXPECT_EQ(key.find("Warning"), std::string::npos) << value;
      EXPECT_EQ(key.find("Error"), std::string::npos) << value;
    }
    const char* recipe = GetParam() == PictureFormat::png ? "PNG:Glm-image" : "XMP-glmimage:Recipe";
    EXPECT_TRUE(found.value(recipe, "") == metadata.recipe) << bytes;
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, Exiftool,
                         ::testing::Values(PictureFormat::png, PictureFormat::jpeg, PictureFormat::webp),
                         [](const auto& info) { return picture_format_name(info.param); });

}  // namespace
}  // namespace glmimage
