#include "eval/word_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "eval/check.h"
#include "eval/eval_helpers.h"
#include "eval/totals.h"

namespace glmimage::eval {
namespace {

TEST(WordStrip, IsBlackOnWhiteWhateverTheColours) {
  for (const char* colour : {"black", "white", "yellow", "blue"}) {
    const EvalScene scene = scene_with(world::text_class(), colour_named(colour), "HI");
    const auto& rgb = world::colour_table()[static_cast<size_t>(scene.scene.background)].rgb;
    const Image strip =
        word_strip(shared_world().render(scene.scene), scene.scene, {double(rgb[0]), double(rgb[1]), double(rgb[2])});
    EXPECT_EQ(strip.pixels.front(), 255);
    EXPECT_EQ(*std::min_element(strip.pixels.begin(), strip.pixels.end()), 0);
    EXPECT_GE(strip.height, 4 * scene.scene.text_size / 2);
    EXPECT_GT(strip.width, strip.height);
  }
}

// The real tesseract on the ground truth of sampled scenes.
TEST(WordReader, ReadsTheGroundTruth) {
  std::optional<WordReader> reader = WordReader::open();
  if (!reader) GTEST_SKIP() << "tesseract is not installed";
  EXPECT_THAT(reader->version(), testing::StartsWith("tesseract "));
  EXPECT_TRUE(reader->can_read("HELLO"));
  Checker checker(shared_world(), reader);
  Totals right, other;
  std::vector<EvalScene> scenes = sample_scenes(shared_world(), 6, 90);
  std::erase_if(scenes,
                [&](const EvalScene& each) { return each.scene.text.empty() || !reader->can_read(each.scene.text); });
  ASSERT_GT(scenes.size(), 20U);
  for (size_t i = 0; i < scenes.size(); ++i) {
    const Image image = shared_world().render(scenes[i].scene);
    const PictureResult result = checker.check(image, scenes[i]);
    right.add(result);
    for (const Mark& mark : marks(result)) {
      if (!mark.right) std::printf("%s: %s\n", scenes[i].prompt.c_str(), mark.says.c_str());
    }
    other.add(checker.check(image, scenes[(i + 1) % scenes.size()]));
  }
  EXPECT_GE(right.word.right, 0.85 * static_cast<double>(right.word.of));
  EXPECT_LT(right.mean_edit_distance(), 0.06);
  EXPECT_LT(other.word.right, 0.1 * static_cast<double>(other.word.of));
  EXPECT_GT(other.mean_edit_distance(), 0.7);
}

}  // namespace
}  // namespace glmimage::eval
