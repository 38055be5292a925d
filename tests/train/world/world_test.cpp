#include "train/world/world.h"

#include <gmock/gmock.h>

#include <ctime>
#include <thread>

#include "core/error.h"
#include "train/world/arrangements.h"
#include "train/world/world_helpers.h"

namespace glmimage::train::world {
namespace {

using testing::HasSubstr;

TEST(World, SameSeedSameScenes) {
  std::mt19937_64 first(11), second(11), other(12);
  const World again = World::open();
  int64_t different = 0;
  for (int i = 0; i < 200; ++i) {
    const Scene a = shared_world().sample(first), b = again.sample(second), c = shared_world().sample(other);
    EXPECT_EQ(a.caption, b.caption);
    EXPECT_EQ(shared_world().render(a).pixels, again.render(b).pixels);
    different += a.caption != c.caption ? 1 : 0;
  }
  EXPECT_GT(different, 190);
}

std::vector<std::string> first_captions(const World& world, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<std::string> captions;
  for (int i = 0; i < 6; ++i) captions.push_back(world.sample(random).caption);
  return captions;
}

// Guards against a library's own distributions creeping in: these captions must come out everywhere.
TEST(World, SeedOneIsPortable) {
  EXPECT_THAT(first_captions(shared_world(), 1),
              testing::ElementsAre("a spider on a red background with the text \"0560\"",
                                   "a zebra on the right of a gray background with the text \"green\"",
                                   "cheese on a red background", "2 tropical fish on a blue background",
                                   "two oranges on a white background", "the text \"SWEET\" on a brown background"));
}

TEST(World, SeedOneIsPortableWithChinese) {
  NEEDS_CHINESE_FONT();
  EXPECT_THAT(
      first_captions(chinese_world(), 1),
      testing::ElementsAre("红色背景上的蜘蛛，写着\"NEW\"", "two koalas on a yellow background",
                           "an elephant at the bottom of a yellow background with the text \"书店\" at the top",
                           "a tractor to the right of a cyan triangle on a red background with the text \"WIN\"",
                           "棕色背景上的文字\"头\"",
                           "a drawing of a lollipop on a red background with the text \"星星\" at the top"));
}

TEST(World, WritesAsManyWordsAsAsked) {
  for (const double share : {0.0, 0.5, 0.8, 1.0}) {
    const World world = World::open({.words = share});
    std::mt19937_64 random(1);
    int64_t with_room = 0, written = 0;
    for (int i = 0; i < 2000; ++i) {
      const Scene scene = world.sample(random);
      if (scene.objects.empty()) {
        EXPECT_FALSE(scene.text.empty());  // a text alone is not a matter of room
      } else if (text_places(scene.arrangement).empty()) {
        EXPECT_TRUE(scene.text.empty());
      } else {
        ++with_room;
        written += scene.text.empty() ? 0 : 1;
      }
    }
    ASSERT_GT(with_room, 1000);
    EXPECT_NEAR(static_cast<double>(written) / static_cast<double>(with_room), share, 0.05);
  }
}

TEST(World, OtherSizesDrawTheSameThing) {
  const World large = World::open({.size = 256});
  std::mt19937_64 a(9), b(9);
  for (int i = 0; i < 40; ++i) {
    const Scene small_scene = shared_world().sample(a), large_scene = large.sample(b);
    EXPECT_EQ(small_scene.caption, large_scene.caption);
    const double ratio = static_cast<double>(foreground(large.render(large_scene), large_scene.background)) /
                         static_cast<double>(foreground(shared_world().render(small_scene), small_scene.background));
    EXPECT_NEAR(ratio, 4, 0.7) << small_scene.caption;
  }
  // A size that was not prepared is drawn all the same.
  Scene odd = shared_world().with_object(class_named("dog"), colour_named("blue"));
  odd.objects[0].size = 101;
  EXPECT_GT(foreground(shared_world().render(odd), odd.background), 3000);
}

TEST(World, ThreadsShareIt) {
  const World& world = shared_world();
  std::vector<std::vector<uint64_t>> hashes(4);
  std::vector<std::thread> threads;
  for (auto& list : hashes) {
    threads.emplace_back([&world, &list] {
      std::mt19937_64 random(21);
      for (int i = 0; i < 200; ++i) list.push_back(fingerprint(world.render(world.sample(random)).pixels));
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& list : hashes) EXPECT_EQ(list, hashes[0]);
}

// Milliseconds of processor time, which a busy machine does not lengthen as it does the clock's.
template <typename Work>
double milliseconds(const Work& work) {
  const std::clock_t start = std::clock();
  work();
  return 1000.0 * static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
}

// The limits are far above what a release build takes, so that a debug build on a slow machine passes.
TEST(World, IsFastEnoughToTrainFrom) {
  std::mt19937_64 random(22);
  const double spent = milliseconds([&] {
    for (int i = 0; i < 1000; ++i) shared_world().render(shared_world().sample(random));
  });
  RecordProperty("milliseconds_per_picture", std::to_string(spent / 1000));
  EXPECT_LT(spent / 1000, 5);
  const auto languages = chinese_font_is_here() ? Languages::english_and_chinese : Languages::english;
  const double opening = milliseconds([&] { World::open({.languages = languages}); });
  RecordProperty("milliseconds_to_open", std::to_string(opening));
  EXPECT_LT(opening, 3000);
}

TEST(World, AMissingFontNamesItsPackage) {
  const auto message = [](const WorldOptions& options) -> std::string {
    try {
      World::open(options);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::usage);
      return error.what();
    }
    return "a missing font was accepted";
  };
  EXPECT_THAT(message({.emoji_font = "/nowhere/emoji.ttf"}), HasSubstr("fonts-noto-color-emoji"));
  EXPECT_THAT(message({.text_font = "/nowhere/text.ttf"}), HasSubstr("fonts-dejavu-core"));
  EXPECT_THAT(message({.languages = Languages::english_and_chinese, .chinese_font = "/nowhere/chinese.ttc"}),
              HasSubstr("fonts-noto-cjk"));
  EXPECT_NO_THROW(World::open({.chinese_font = "/nowhere/chinese.ttc"})) << "not read without Chinese";
  // A font without Chinese characters is no Chinese font.
  EXPECT_THAT(message({.languages = Languages::english_and_chinese, .chinese_font = WorldOptions{}.text_font}),
              HasSubstr("has no sign"));
}

TEST(World, RefusesWhatItCannotDraw) {
  const World& world = shared_world();
  EXPECT_THROW(World::open({.size = 8}), Error);
  EXPECT_THROW(world.with_object(0, 0), Error);
  EXPECT_THROW(world.with_object(class_count(), 0), Error);
  EXPECT_THROW(world.with_object(1, background_count()), Error);
  EXPECT_THROW(world.with_object(text_class(), 0), Error);
  for (const std::string text : {"NINELONGS", "A B", "\"", "\xff", "大门", "A大", "大门口"}) {
    EXPECT_THROW(world.with_object(1, 0, text), Error) << text;
  }
  const int64_t cat = class_named("cat"), dog = class_named("dog"), grapes = class_named("grapes");
  EXPECT_THROW(world.with_objects({cat}, Arrangement::row, 0), Error);
  EXPECT_THROW(world.with_objects({cat, dog}, Arrangement::row, 0), Error);
  EXPECT_THROW(world.with_objects({grapes, grapes}, Arrangement::row, 0), Error);
  EXPECT_THROW(world.with_objects({cat, cat}, Arrangement::left_of, 0), Error);
  EXPECT_THROW(world.with_objects({cat, dog}, Arrangement::above, 0, "A"), Error);
  EXPECT_THROW(world.with_objects({cat, cat, cat}, Arrangement::triangle, 0, "A"), Error);
  EXPECT_THROW(world.with_objects({}, Arrangement::centre, 0, "A"), Error);
  Scene spoiled = world.with_object(1, 0, "FINE");
  spoiled.text = "NOT FINE";
  EXPECT_THROW(world.render(spoiled), Error);
}

TEST(World, RefusesChineseOfWhichItHasNoGlyph) {
  NEEDS_CHINESE_FONT();
  EXPECT_NO_THROW(chinese_world().with_object(1, 0, "大门"));
  for (const std::string text : {"大门口", "A大", "饕"}) EXPECT_THROW(chinese_world().with_object(1, 0, text), Error);
}

}  // namespace
}  // namespace glmimage::train::world
