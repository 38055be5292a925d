#include "eval/scenes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "core/error.h"
#include "eval/eval_helpers.h"
#include "support/goldens.h"

namespace glmimage::eval {
namespace {

using testing::HasSubstr;

std::vector<EvalScene> read(const std::string& lines) {
  const auto file = test::scratch_folder() / "scenes.jsonl";
  std::ofstream(file) << lines;
  return read_scenes(shared_world(), file);
}

// The message of the refusal, which names the file and this line.
std::string refusal(const std::string& line) {
  try {
    read("{\"prompt\": \"a cat\", \"objects\": [\"cat\"]}\n\n" + line + "\n");
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    EXPECT_THAT(error.what(), HasSubstr("scenes.jsonl:3: "));
    return error.what();
  }
  ADD_FAILURE() << "accepted: " << line;
  return {};
}

TEST(Scenes, SampledOnesAreTheSameAndSayEverything) {
  const auto few = sample_scenes(shared_world(), 7, 5), many = sample_scenes(shared_world(), 7, 20);
  const auto other = sample_scenes(shared_world(), 8, 5);
  int64_t different = 0;
  for (size_t i = 0; i < few.size(); ++i) {
    EXPECT_EQ(few[i].prompt, many[i].prompt);
    EXPECT_EQ(few[i].prompt, canonical_caption(few[i].scene));
    EXPECT_TRUE(few[i].says_background && few[i].says_places);
    different += few[i].prompt != other[i].prompt ? 1 : 0;
  }
  EXPECT_GT(different, 2);
}

TEST(Scenes, LinesBecomeScenes) {
  const auto scenes = read(
      R"({"prompt": "a dog left of a car: HI", "background": "white", "objects": ["dog", "car"], "arrangement": "left of", "text": "HI"})"
      "\r\n\n"
      R"({"prompt": "a cat somewhere", "objects": ["cat"]})"
      "\n"
      R"({"prompt": "three", "objects": [{"name": "cat", "x": 0.2, "y": 0.5, "size": 0.25}, {"name": "dog", "x": 0.5, "y": 0.5}, {"name": "blue circle", "x": 0.8, "y": 0.3}]})"
      "\n"
      R"({"prompt": "a sign", "background": "red", "text": "OPEN"})"
      "\n"
      R"({"prompt": "high", "background": "blue", "objects": ["cat"], "arrangement": "bottom", "text": "UP"})"
      "\n"
      R"({"prompt": "all green", "background": "green"})"
      "\n");
  ASSERT_EQ(scenes.size(), 6U);
  const auto& pair = scenes[0].scene;
  EXPECT_EQ(scenes[0].prompt, "a dog left of a car: HI");
  EXPECT_TRUE(scenes[0].says_background && scenes[0].says_places);
  EXPECT_EQ(pair.background, colour_named("white"));
  ASSERT_EQ(pair.objects.size(), 2U);
  EXPECT_EQ(class_of(pair.objects[0]), class_named("dog"));
  EXPECT_EQ(pair.objects[0].centre_x, 32);
  EXPECT_EQ(pair.objects[1].centre_x, 96);
  EXPECT_EQ(pair.text, "HI");
  EXPECT_GT(pair.text_centre_y, 100);

  EXPECT_FALSE(scenes[1].says_background || scenes[1].says_places);
  EXPECT_TRUE(shared_world().stands_out(scenes[1].scene.objects[0], scenes[1].scene.background));
  EXPECT_EQ(scenes[2].scene.objects[0].size, 32);
  EXPECT_EQ(scenes[2].scene.objects[2].centre_y, 38);
  EXPECT_TRUE(scenes[2].says_places);
  EXPECT_EQ(scenes[3].scene.text, "OPEN");
  EXPECT_EQ(scenes[3].scene.text_centre_y, 64);
  EXPECT_LT(scenes[4].scene.text_centre_y, 30);  // no room at the bottom
  EXPECT_TRUE(scenes[5].scene.objects.empty());
  for (const EvalScene& scene : scenes) EXPECT_EQ(shared_world().render(scene.scene).width, 128);
}

TEST(Scenes, BadLinesAreNamed) {
  EXPECT_THAT(refusal("not json"), HasSubstr("this line"));
  EXPECT_THAT(refusal("[1]"), HasSubstr("this line"));
  EXPECT_THAT(refusal(R"({"objects": ["cat"]})"), HasSubstr("'prompt'"));
  EXPECT_THAT(refusal(R"({"prompt": 5})"), HasSubstr("'prompt' should be a string"));
  EXPECT_THAT(refusal(R"({"prompt": "p"})"), HasSubstr("nothing to be seen"));
  EXPECT_THAT(refusal(R"({"prompt": "p", "object": ["cat"]})"), HasSubstr("'object' is not known"));
  EXPECT_THAT(refusal(R"({"prompt": "p", "objects": "cat"})"), HasSubstr("'objects' should be a list"));
  EXPECT_THAT(refusal(R"({"prompt": "p", "objects": ["griffin"]})"), HasSubstr("no object 'griffin'"));
  EXPECT_THAT(refusal(R"({"prompt": "p", "objects": ["text"]})"), HasSubstr("no object 'text'"));
  EXPECT_THAT(refusal(R"({"prompt": "p", "objects": ["cat"], "background": "teal"})"), HasSubstr("'teal'"));
  EXPECT_THAT(refusal(R"({"prompt": "p", "objects": ["red circle"], "background": "red"})"),
              HasSubstr("cannot be seen"));
  EXPECT_THAT(refusal(R"({"prompt": "p", "objects": ["cat"], "arrangement": "above"})"), HasSubstr("'above'"));
  EXPECT_THAT(refusal(R"({"prompt": "p", "objects": ["cat", "dog", "pig"]})"), HasSubstr("'x' and 'y'"));
  EXPECT_THAT(refusal(R"({"prompt": "p", "objects": [{"name": "cat", "x": 0.5}]})"), HasSubstr("go together"));
  EXPECT_THAT(refusal(R"({"prompt": "p", "objects": [{"name": "cat", "x": 50, "y": 0.5}]})"), HasSubstr("fraction"));
  EXPECT_THAT(refusal(R"({"prompt": "p", "objects": [{"name": "cat", "z": 1}]})"), HasSubstr("'z' is not known"));
  EXPECT_THAT(refusal(R"({"prompt": "p", "background": "red", "text": "\n"})"), HasSubstr("text"));
  EXPECT_THAT(refusal(R"({"prompt": "p", "objects": ["cat"], "text_place": "top"})"), HasSubstr("'text_place'"));
  EXPECT_THAT(refusal(R"({"prompt": "p", "text": "A", "text_place": "top"})"), HasSubstr("'text_place'"));
  EXPECT_THAT(refusal(R"({"prompt": "p", "objects": ["cat", "dog"], "arrangement": "above", "text": "A"})"),
              HasSubstr("lie on each other"));
}

TEST(Scenes, MissingAndEmptyLists) {
  EXPECT_THROW(read_scenes(shared_world(), "no/scenes.jsonl"), Error);
  EXPECT_THROW(read("\n\n"), Error);
}

}  // namespace
}  // namespace glmimage::eval
