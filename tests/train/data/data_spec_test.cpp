#include "train/data/data_spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "train/data/captions.h"
#include "train/data/data_config.h"
#include "train/data/data_helpers.h"

namespace glmimage::train {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<std::string> spell(const std::vector<std::string>& values) {
  std::vector<std::string> out;
  for (const DataSpec& spec : parse_data_specs(values)) {
    out.push_back(spec.weight ? concat(spec.source, " x ", *spec.weight) : spec.source);
  }
  return out;
}

TEST(DataSpec, SplitsSourcesAndWeights) {
  EXPECT_THAT(spell({"photos"}), ElementsAre("photos"));
  EXPECT_THAT(spell({"photos@2,synthetic:100@0.5"}), ElementsAre("photos x 2", "synthetic:100 x 0.5"));
  EXPECT_THAT(spell({"photos", "list.jsonl@3"}), ElementsAre("photos", "list.jsonl x 3"));
  EXPECT_THAT(spell({"s-{00..09}.tar,t-{a,b}.tar@1"}), ElementsAre("s-{00..09}.tar", "t-{a,b}.tar x 1"));
  EXPECT_THAT(spell({"me@home/photos"}), ElementsAre("me@home/photos"));
}

TEST(DataSpec, ExistingPathsStayWhole) {
  const std::string odd = test::scratch_folder() / "a,b@2";
  std::filesystem::create_directories(odd);
  EXPECT_THAT(spell({odd}), ElementsAre(odd));
  EXPECT_THAT(spell({odd + "@3"}).size(), 2U);  // not an existing path: the comma separates
}

TEST(DataSpec, RefusesNonsense) {
  EXPECT_THAT(test::usage_error([] { parse_data_specs({"a,,b"}); }), HasSubstr("a source is empty"));
  EXPECT_THAT(test::usage_error([] { parse_data_specs({""}); }), HasSubstr("a source is empty"));
  EXPECT_THAT(test::usage_error([] { parse_data_specs({"a@0"}); }), HasSubstr("a weight is a number above 0"));
  EXPECT_THAT(test::usage_error([] { parse_data_specs({"a@-1"}); }), HasSubstr("a weight"));
  EXPECT_THAT(test::usage_error([] { parse_data_specs({"a@inf"}); }), HasSubstr("a weight"));
}

TEST(Braces, Expand) {
  EXPECT_THAT(expand_braces("a.tar"), ElementsAre("a.tar"));
  EXPECT_THAT(expand_braces("s-{0008..0011}.tar"), ElementsAre("s-0008.tar", "s-0009.tar", "s-0010.tar", "s-0011.tar"));
  EXPECT_THAT(expand_braces("{a,b}{1..2}"), ElementsAre("a1", "a2", "b1", "b2"));
  for (const char* bad : {"{", "{a}", "{1..x}", "{2..1}", "{0..999999}", "{-1..2}"}) {
    EXPECT_THAT(test::usage_error([&] { expand_braces(bad); }), HasSubstr(bad));
  }
}

TEST(Captions, AreTheLinesOfAText) {
  EXPECT_THAT(captions_of_text("a cat\n\n  two cats \r\nthree"), ElementsAre("a cat", "two cats", "three"));
  EXPECT_THAT(captions_of_text(" \n\r\n"), IsEmpty());
}

TEST(Captions, OfJson) {
  const auto read = [](const char* text) { return captions_of_json(parse_json_object(text, "x"), "x"); };
  EXPECT_THAT(read(R"({"caption": "a\nb"})"), ElementsAre("a\nb"));
  EXPECT_THAT(read(R"({"captions": ["a", " ", "b"]})"), ElementsAre("a", "b"));
  EXPECT_THAT(read(R"({"caption": null, "text": "t"})"), ElementsAre("t"));
  EXPECT_THAT(read(R"({"other": 1})"), IsEmpty());
  EXPECT_THAT(test::usage_error([&] { read(R"({"caption": 7})"); }),
              HasSubstr("x: field 'caption' should be a string"));
  EXPECT_THAT(test::usage_error([&] { read(R"({"captions": ["a", 7]})"); }), HasSubstr("'captions'"));
  EXPECT_THAT(test::usage_error([&] { read("[1]"); }), HasSubstr("expected a JSON object, not array"));
  EXPECT_THAT(test::usage_error([&] { read("{"); }), HasSubstr("not valid JSON"));
  for (const char* bad : {R"({"repeats": 0})", R"({"repeats": 1.5})", R"({"repeats": 18446744073709551615})"}) {
    EXPECT_THAT(test::usage_error([&] { repeats_of_json(parse_json_object(bad, "x"), "x"); }), HasSubstr("'repeats'"));
  }
}

DataConfig parse(const char* text) {
  DataConfig config;
  FieldList list;
  config.add_fields(list, "");
  list.read(nlohmann::json::parse(text), "data.json");
  config.check();
  return config;
}

TEST(DataConfig, RoundTrips) {
  DataConfig config;
  config.areas = {256, 512};
  config.fit = Fit::window;
  config.crop = CropAt::random;
  config.flip = 0.25;
  config.last_batch = LastBatch::pad;
  config.captions = CaptionRule::optional;
  config.small_pictures = SmallPicture::skip;
  config.broken_pictures = BrokenPicture::fail;
  EXPECT_EQ(parse(config.to_json().dump().c_str()).to_json(), config.to_json());
  EXPECT_EQ(parse("{}").to_json(), DataConfig().to_json());
  EXPECT_EQ(parse(R"({"caption_dropout": 0.5})").caption_dropout, 0.5);
}

TEST(DataConfig, RefusesNonsense) {
  EXPECT_THAT(test::usage_error([] { parse(R"({"fit": "squash"})"); }),
              AllOf(HasSubstr("data.json: 'fit' is \"squash\""), HasSubstr("cover, stretch, window")));
  EXPECT_THAT(test::usage_error([] { parse(R"({"flipp": 1})"); }), HasSubstr("'flipp'; did you mean 'flip'?"));
  EXPECT_THAT(test::usage_error([] { parse(R"({"flip": 2})"); }),
              HasSubstr("'flip' is 2; expected a number from 0 to 1"));
  EXPECT_THAT(test::usage_error([] { parse(R"({"areas": [100]})"); }), HasSubstr("multiples of 32"));
  EXPECT_THAT(test::usage_error([] { parse(R"({"areas": [64, 64]})"); }), HasSubstr("different multiples"));
  EXPECT_THAT(test::usage_error([] { parse(R"({"bucket_aspect": 0.5})"); }), HasSubstr("'bucket_aspect' is 0.5"));
  EXPECT_THAT(test::usage_error([] { parse(R"({"max_aspect": 0})"); }), HasSubstr("'max_aspect'"));
  EXPECT_THAT(test::usage_error([] { parse(R"({"min_side": 0})"); }), HasSubstr("'min_side' is 0"));
  EXPECT_THAT(test::usage_error([] { parse(R"({"min_side": 9, "max_side": 8})"); }), HasSubstr("the smaller first"));
}

}  // namespace
}  // namespace glmimage::train
