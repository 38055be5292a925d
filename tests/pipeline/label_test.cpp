#include "pipeline/label.h"

#include <gmock/gmock.h>

#include "core/error.h"
#include "core/picture_metadata.h"
#include "pipeline/picture_file.h"

namespace glmimage {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

Image grey(int64_t side) { return {side, side, std::vector<uint8_t>(static_cast<size_t>(3 * side * side), 90)}; }

Recipe recipe() {
  Recipe out;
  out.program = "glm-image 0.1.0 (LibTorch 2.11.0)";
  out.model = {"mini", std::string(64, 'a')};
  out.prompt = "猫 🦊";
  out.width = out.height = 64;
  out.dtype = "float32";
  out.threads = 2;
  return out;
}

TEST(Label, HasTheStandardsForm) {
  EXPECT_EQ(aigc_label("001191", "abc"),
            R"({"Label":"1","ContentProducer":"001191","ProduceID":"abc","ReservedCode1":"",)"
            R"("ContentPropagator":"","PropagateID":"","ReservedCode2":""})");
  for (const LabelMode mode : {LabelMode::none, LabelMode::hidden, LabelMode::visible}) {
    EXPECT_EQ(parse_label_mode(label_mode_name(mode)), mode);
  }
  EXPECT_THROW(parse_label_mode("loud"), Error);
}

TEST(Label, ProducersAreHeldToTheStandard) {
  EXPECT_NO_THROW(validate_producer("001191110102MACQD9K64010000"));
  EXPECT_NO_THROW(validate_producer(kDefaultProducer));
  for (const std::string bad : {"", "two words", "a\"b", "a\\b", "猫", "a\n"}) {
    EXPECT_THROW(validate_producer(bad), Error) << bad;
  }
  EXPECT_THROW(validate_producer(std::string(129, 'a')), Error);
}

TEST(PictureFile, IsLabelledByDefault) {
  const PictureMetadata metadata = describe_picture(recipe(), {});
  EXPECT_EQ(metadata.digital_source_type, kTrainedAlgorithmicMedia);
  EXPECT_EQ(metadata.creator_tool, "glm-image 0.1.0");
  const auto label = nlohmann::json::parse(metadata.aigc_label);
  EXPECT_EQ(label["ContentProducer"], kDefaultProducer);
  EXPECT_EQ(label["ProduceID"].get<std::string>().size(), 32U);
  EXPECT_EQ(describe_picture(recipe(), {}), metadata);
  Recipe other = recipe();
  other.seed = 1;
  EXPECT_NE(describe_picture(other, {}).aigc_label, metadata.aigc_label) << "another picture, another id";
}

TEST(PictureFile, SaysNoMoreThanAsked) {
  const PictureMetadata unlabelled = describe_picture(recipe(), {.label = {.mode = LabelMode::none}});
  EXPECT_EQ(unlabelled.aigc_label + unlabelled.digital_source_type, "");
  EXPECT_THAT(unlabelled.parameters, HasSubstr("猫"));
  const PictureMetadata discreet = describe_picture(recipe(), {.with_recipe = false});
  EXPECT_EQ(discreet.parameters + discreet.recipe, "");
  EXPECT_NE(discreet.aigc_label, "");
  EXPECT_TRUE(describe_picture(recipe(), {.label = {.mode = LabelMode::none}, .with_recipe = false}).empty());
  EXPECT_THROW(describe_picture(recipe(), {.label = {.producer = "two words"}}), Error);
}

TEST(PictureFile, RecipesComeBackFromEveryFormat) {
  for (const PictureFormat format : {PictureFormat::png, PictureFormat::jpeg, PictureFormat::webp}) {
    const std::vector<uint8_t> bytes = picture_file(grey(64), recipe(), {.format = format});
    const FoundMetadata found = read_metadata(bytes, "a");
    EXPECT_EQ(Recipe::from_json(found.metadata.recipe, "a").to_json(), recipe().to_json());
    EXPECT_EQ(found.metadata.parameters, recipe().parameters());
  }
}

TEST(PictureFile, MarksWhatIsVisible) {
  const PictureFileOptions visible{.label = {.mode = LabelMode::visible}};
  const std::vector<uint8_t> bytes = picture_file(grey(64), recipe(), visible);
  const Image marked = decode_image(bytes, "a");
  EXPECT_NE(marked.pixels, grey(64).pixels);
  EXPECT_EQ(Recipe::from_json(read_metadata(bytes, "a").metadata.recipe, "a").label, "visible");
  EXPECT_EQ(decode_image(picture_file(grey(64), recipe(), {}), "a").pixels, grey(64).pixels);
  EXPECT_THROW(picture_file(grey(16), recipe(), visible), Error);
}

// Bytes that are no text must not cost a picture.
TEST(PictureFile, SurvivesTextThatIsNone) {
  Recipe odd = recipe();
  odd.prompt = "a\xff\x01\x80";
  for (const PictureFormat format : {PictureFormat::png, PictureFormat::jpeg, PictureFormat::webp}) {
    const FoundMetadata found = read_metadata(picture_file(grey(64), odd, {.format = format}), "a");
    EXPECT_EQ(Recipe::from_json(found.metadata.recipe, "a").prompt, "a\xEF\xBF\xBD\x01\xEF\xBF\xBD");
  }
}

}  // namespace
}  // namespace glmimage
