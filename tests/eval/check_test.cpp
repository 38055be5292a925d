#include "eval/check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "core/resize.h"
#include "eval/eval_helpers.h"
#include "eval/totals.h"

namespace glmimage::eval {
namespace {

using world::Object;

// No test here reads words (word_reader_test.cpp).
Checker& shared_checker() {
  static Checker checker(shared_world(), std::nullopt);
  return checker;
}

PictureResult check(const EvalScene& scene) {
  return shared_checker().check(shared_world().render(scene.scene), scene);
}

// The picture moved by whole pixels; what comes in is background.
Image moved(const Image& image, int64_t dx, int64_t dy) {
  Image out = image;
  for (int64_t y = 0; y < image.height; ++y) {
    for (int64_t x = 0; x < image.width; ++x) {
      const int64_t from_x = std::clamp<int64_t>(x - dx, 0, image.width - 1);
      const int64_t from_y = std::clamp<int64_t>(y - dy, 0, image.height - 1);
      std::copy_n(&image.pixels[static_cast<size_t>(from_y * image.width + from_x) * 3], 3,
                  &out.pixels[static_cast<size_t>(y * image.width + x) * 3]);
    }
  }
  return out;
}

Image blurred(const Image& image) {
  return resize(resize(image, image.width / 4, image.height / 4, Filter::bicubic), image.width, image.height,
                Filter::bicubic);
}

Image noisy(const Image& image, int amplitude) {
  std::mt19937_64 random(1);
  Image out = image;
  for (uint8_t& value : out.pixels) {
    const int noise = static_cast<int>(random() % static_cast<uint64_t>(2 * amplitude + 1)) - amplitude;
    value = static_cast<uint8_t>(std::clamp(value + noise, 0, 255));
  }
  return out;
}

std::string wrong_marks(const PictureResult& result) {
  std::string out;
  for (const Mark& mark : marks(result)) out += mark.right ? "" : mark.says + "; ";
  return out;
}

// Every object on every background on which it can be seen, as painted and after damage like a model's.
TEST(Check, NamesEveryObjectOnEveryBackground) {
  Totals as_painted, damaged;
  for (int64_t id = 1; id < world::class_count(); ++id) {
    if (id == world::text_class()) continue;
    for (int64_t background = 0; background < world::background_count(); ++background) {
      const EvalScene scene = scene_with(id, background);
      if (!shared_world().stands_out(scene.scene.objects[0], background)) continue;
      const Image image = shared_world().render(scene.scene);
      const PictureResult result = shared_checker().check(image, scene);
      as_painted.add(result);
      EXPECT_GT(result.objects[0].place.agreement, 0.97) << scene.prompt;
      if ((id + background) % 5 != 0) continue;
      const PictureResult worse = shared_checker().check(noisy(moved(image, 3, -3), 20), scene);
      damaged.add(worse);
    }
  }
  ASSERT_GT(as_painted.emoji.of, 100);
  ASSERT_GT(as_painted.shape.of, 100);
  EXPECT_GE(as_painted.emoji.right, 0.99 * static_cast<double>(as_painted.emoji.of));
  EXPECT_GE(as_painted.shape.right, 0.99 * static_cast<double>(as_painted.shape.of));
  EXPECT_EQ(as_painted.background.right, as_painted.background.of);
  EXPECT_EQ(as_painted.place.right, as_painted.place.of);
  EXPECT_GE(damaged.picture.right, 0.98 * static_cast<double>(damaged.picture.of));
}

TEST(Check, FindsSampledScenesRight) {
  Totals totals, blurry;
  for (const EvalScene& scene : sample_scenes(shared_world(), 3, 200)) {
    const PictureResult result = check(scene);
    totals.add(result);
    EXPECT_TRUE(result.all_right()) << scene.prompt << ": " << wrong_marks(result);
    blurry.add(shared_checker().check(blurred(shared_world().render(scene.scene)), scene));
  }
  for (const Measure& measure : measures()) {
    const Tally& tally = totals.*measure.tally;
    EXPECT_GE(tally.right, 0.99 * static_cast<double>(tally.of)) << measure.key;
  }
  EXPECT_GT(totals.relation.of, 30);
  EXPECT_GT(totals.place.of, 50);
  EXPECT_EQ(totals.word.of, 0);
  EXPECT_GE(blurry.emoji.right, 0.9 * static_cast<double>(blurry.emoji.of));
}

// Pictures of other scenes: a right answer is an accident.
TEST(Check, OtherPicturesAreWrong) {
  const std::vector<EvalScene> scenes = sample_scenes(shared_world(), 4, 200);
  Totals totals;
  for (size_t i = 0; i < scenes.size(); ++i) {
    totals.add(shared_checker().check(shared_world().render(scenes[(i + 1) % scenes.size()].scene), scenes[i]));
  }
  const auto rate = [](const Tally& tally) { return static_cast<double>(tally.right) / static_cast<double>(tally.of); };
  EXPECT_LT(rate(totals.emoji), 0.06);
  EXPECT_LT(rate(totals.shape), 0.1);
  EXPECT_LT(rate(totals.background), 0.2);
  EXPECT_LT(rate(totals.picture), 0.015);
}

TEST(Check, BareAndRandomPicturesShowNothing) {
  const EvalScene scene = scene_with(class_named("red apple"), colour_named("green"));
  EvalScene bare = scene;
  bare.scene.objects.clear();
  const Image plain = shared_world().render(bare.scene);
  std::mt19937_64 random(2);
  Image noise = plain;
  for (uint8_t& value : noise.pixels) value = static_cast<uint8_t>(random());
  for (const Image& image : {plain, noise}) {
    const PictureResult result = shared_checker().check(image, scene);
    EXPECT_EQ(result.objects[0].named.class_id, 0);
    EXPECT_FALSE(result.objects[0].right());
    EXPECT_FALSE(*result.place_right);
    EXPECT_FALSE(result.all_right());
  }
  EXPECT_EQ(shared_checker().check(plain, scene).background_named, colour_named("green"));
}

TEST(Check, TellsFormFromColour) {
  const int64_t white = colour_named("white");
  const EvalScene wanted = scene_with(class_named("red circle"), white);
  const auto judged = [&](const std::string& name) {
    return shared_checker().check(shared_world().render(scene_with(class_named(name), white).scene), wanted).objects[0];
  };
  EXPECT_TRUE(judged("red circle").right());
  const ObjectResult blue = judged("blue circle"), square = judged("red square"), apple = judged("red apple");
  EXPECT_TRUE(blue.form_right && !blue.colour_right && !blue.right());
  EXPECT_TRUE(!square.form_right && square.colour_right && !square.right());
  EXPECT_TRUE(!apple.form_right && !apple.colour_right && !apple.right());
}

// A right object in a wrong place is right, and its place wrong.
TEST(Check, PlaceIsJudgedApart) {
  EvalScene scene = scene_with(class_named("cat"), colour_named("blue"));
  scene.scene.objects[0].centre_x = 32;
  const Image left = shared_world().render(scene.scene);
  EXPECT_TRUE(shared_checker().check(left, scene).all_right());
  scene.scene.objects[0].centre_x = 64;
  const PictureResult result = shared_checker().check(left, scene);
  EXPECT_TRUE(result.objects[0].right());
  EXPECT_FALSE(*result.place_right);
  EXPECT_NEAR(result.objects[0].place.x, 0.25, 0.02);
  EXPECT_FALSE(result.all_right());
  scene.says_places = false;
  EXPECT_TRUE(shared_checker().check(left, scene).all_right());
}

TEST(Check, RelationsOfPairs) {
  EvalScene scene = scene_with(class_named("dog"), colour_named("white"));
  scene.scene.objects.push_back(shared_world().with_object(class_named("car"), 0).objects[0]);
  scene.scene.objects[0].centre_x = 32;
  scene.scene.objects[1].centre_x = 96;
  const PictureResult right = check(scene);
  EXPECT_TRUE(right.all_right()) << wrong_marks(right);
  ASSERT_EQ(right.relations.size(), 1U);
  EXPECT_STREQ(right.relations[0].words, "left of");
  EXPECT_FALSE(right.place_right.has_value());

  EvalScene swapped = scene;
  std::swap(swapped.scene.objects[0].centre_x, swapped.scene.objects[1].centre_x);
  const PictureResult wrong = shared_checker().check(shared_world().render(swapped.scene), scene);
  EXPECT_TRUE(wrong.objects[0].right() && wrong.objects[1].right());
  EXPECT_FALSE(wrong.relations[0].right);
}

TEST(Check, CountsEqualObjects) {
  EvalScene scene = scene_with(class_named("strawberry"), colour_named("white"));
  Object one = scene.scene.objects[0];
  one.size = 40;
  scene.scene.objects.clear();
  for (const int64_t x : {22, 64, 106}) {
    one.centre_x = x;
    scene.scene.objects.push_back(one);
  }
  const auto counted = [&](size_t painted) {
    EvalScene other = scene;
    other.scene.objects.resize(painted, other.scene.objects.back());
    if (painted == 4) other.scene.objects[3].centre_x = 64, other.scene.objects[3].centre_y = 106;
    const PictureResult result = shared_checker().check(shared_world().render(other.scene), scene);
    EXPECT_TRUE(result.relations.empty());
    EXPECT_EQ(result.counts.size(), 1U);
    EXPECT_EQ(result.counts[0].wanted, 3);
    EXPECT_EQ(result.all_right(), painted == 3) << wrong_marks(result);
    return result.counts[0].counted;
  };
  EXPECT_EQ(counted(2), 2);
  EXPECT_EQ(counted(3), 3);
  EXPECT_EQ(counted(4), 4);
}

TEST(Check, WorksAtOtherSizes) {
  for (const int64_t size : {48, 256}) {
    const world::World world = world::World::open({.size = size});
    Checker checker(world, std::nullopt);
    Totals totals;
    for (const EvalScene& scene : sample_scenes(world, 5, 30)) {
      totals.add(checker.check(world.render(scene.scene), scene));
    }
    EXPECT_GE(totals.picture.right, 29) << size;
  }
}

TEST(Totals, AddUpAndTell) {
  Totals totals;
  const EvalScene scene = scene_with(class_named("red circle"), colour_named("white"));
  PictureResult result = check(scene);
  result.word = WordResult{"HELLO", "HELL", 0.2};
  totals.add(result);
  const nlohmann::json value = totals.to_json();
  EXPECT_EQ(value["shape"]["right"], 1);
  EXPECT_EQ(value["shape"]["rate"], 1.0);
  EXPECT_EQ(value["emoji"]["of"], 0);
  EXPECT_TRUE(value["emoji"]["rate"].is_null());
  EXPECT_EQ(value["word"]["right"], 0);
  EXPECT_DOUBLE_EQ(value["word"]["edit_distance"], 0.2);
  EXPECT_EQ(value["picture"]["right"], 0);
  const std::string table = table_text({totals, totals, totals});
  EXPECT_THAT(table, testing::HasSubstr("0.200"));
  EXPECT_THAT(table, testing::Not(testing::HasSubstr("emoji")));
  EXPECT_EQ(wrong_marks(result), "reads HELL, not HELLO; ");
}

}  // namespace
}  // namespace glmimage::eval
