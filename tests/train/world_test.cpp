#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <map>
#include <set>
#include <thread>

#include "core/error.h"
#include "train/world/world.h"
#include "train/world/world_tables.h"

namespace glmimage::train::world {
namespace {

using testing::HasSubstr;

const World& shared_world() {
  static const World world = World::open();
  return world;
}

int64_t class_named(const std::string& name) {
  const auto& names = class_names();
  return std::find(names.begin(), names.end(), name) - names.begin();
}

int64_t colour_named(const std::string& name) {
  const auto& table = colour_table();
  const auto named = [&](const Colour& colour) { return colour.name == name; };
  return std::find_if(table.begin(), table.end(), named) - table.begin();
}

// Pixels that differ from the background.
int64_t foreground(const Image& image, int64_t background) {
  const auto& rgb = colour_table()[background].rgb;
  int64_t count = 0;
  for (size_t i = 0; i < image.pixels.size(); i += 3) count += !std::equal(rgb.begin(), rgb.end(), &image.pixels[i]);
  return count;
}

uint64_t fingerprint(const std::vector<uint8_t>& bytes) {  // FNV-1a
  uint64_t hash = 14695981039346656037ULL;
  for (const uint8_t byte : bytes) hash = (hash ^ byte) * 1099511628211ULL;
  return hash;
}

TEST(World, CanonicalCaptions) {
  const World& world = shared_world();
  EXPECT_EQ(world.with_object(class_named("red apple"), colour_named("green")).caption,
            "a red apple on a green background");
  EXPECT_EQ(world.with_object(class_named("blue circle"), colour_named("yellow")).caption,
            "a blue circle on a yellow background");
  EXPECT_EQ(world.with_object(class_named("orange"), colour_named("orange")).caption,
            "an orange on an orange background");
  EXPECT_EQ(world.with_object(class_named("cat"), colour_named("red"), "HELLO").caption,
            "a cat on a red background with the text \"HELLO\"");
  EXPECT_EQ(world.with_object(text_class(), colour_named("blue"), "42").caption,
            "the text \"42\" on a blue background");

  Scene two = world.with_object(class_named("dog"), colour_named("white"));
  two.objects.push_back(world.with_object(class_named("car"), 0).objects[0]);
  two.arrangement = Arrangement::left_of;
  EXPECT_EQ(canonical_caption(two), "a dog to the left of a car on a white background");
  Scene high = world.with_object(class_named("star"), colour_named("black"));
  high.arrangement = Arrangement::top;
  EXPECT_EQ(canonical_caption(high), "a star at the top of a black background");
}

TEST(World, TheAppleIsSampledInItsCanonicalForm) {
  std::mt19937_64 random(3);
  int64_t seen = 0;
  for (int i = 0; i < 20000; ++i) {
    seen += shared_world().sample(random).caption == "a red apple on a green background" ? 1 : 0;
  }
  EXPECT_GE(seen, 3);
}

TEST(World, ClassesHaveNamesOfTheirOwn) {
  const std::set<std::string> names(class_names().begin(), class_names().end());
  EXPECT_EQ(static_cast<int64_t>(class_names().size()), class_count());
  EXPECT_EQ(names.size(), class_names().size());
  EXPECT_EQ(class_names().front(), "background");
  EXPECT_EQ(class_names()[text_class()], "text");
}

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

// Guards against a library's own distributions creeping in: these captions must come out everywhere.
TEST(World, SeedOneIsPortable) {
  std::mt19937_64 random(1);
  std::vector<std::string> captions;
  for (int i = 0; i < 4; ++i) captions.push_back(shared_world().sample(random).caption);
  EXPECT_THAT(captions, testing::ElementsAre("Owl on a red background",
                                             "white triangle on a black background with the text \"STAR\"",
                                             "a frog to the right of grapes on a red background",
                                             "a rabbit to the right of a bus on a pink background"));
}

// An object is cut into the same parts wherever it lies, and never shares its tokens with a word.
TEST(World, ThingsLieOnTheGridOfTheTokens) {
  std::mt19937_64 random(4);
  for (int i = 0; i < 3000; ++i) {
    const Scene scene = shared_world().sample(random);
    for (const Object& object : scene.objects) {
      EXPECT_EQ(object.size, 64) << scene.caption;
      EXPECT_EQ(object.centre_x % 32, 0) << scene.caption;
      EXPECT_EQ(object.centre_y % 32, 0) << scene.caption;
      if (scene.text.empty()) continue;
      EXPECT_GE(std::abs(object.centre_y - scene.text_centre_y), 48) << scene.caption;
    }
  }
}

TEST(World, EveryObjectIsSeenAndUnlikeTheOthers) {
  const World& world = shared_world();
  std::map<uint64_t, int64_t> seen;
  for (int64_t id = 1; id < text_class(); ++id) {
    int64_t background = 0;
    while (!world.stands_out(world.with_object(id, background).objects[0], background)) ++background;
    const Image image = world.render(world.with_object(id, background));
    EXPECT_GT(foreground(image, background), 800) << class_names()[id];
    const uint64_t hash = fingerprint(world.render(world.with_object(id, colour_named("pink"))).pixels);
    EXPECT_TRUE(seen.emplace(hash, id).second) << class_names()[id] << " looks like " << class_names()[seen[hash]];
  }
}

TEST(World, CaptionsNameWhatIsThere) {
  std::mt19937_64 random(5);
  int64_t canonical = 0, with_text = 0, pairs = 0;
  for (int i = 0; i < 3000; ++i) {
    const Scene scene = shared_world().sample(random);
    canonical += scene.caption == canonical_caption(scene) ? 1 : 0;
    with_text += scene.text.empty() ? 0 : 1;
    pairs += scene.objects.size() == 2 ? 1 : 0;
    for (const Object& object : scene.objects) {
      const std::string name = class_names()[class_of(object)];
      std::string caption = scene.caption;
      caption[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(caption[0])));
      const char* alias = object.kind == ObjectKind::emoji ? emoji_table()[object.index].alias : nullptr;
      const bool aliased = alias != nullptr && caption.find(alias) != std::string::npos;
      EXPECT_TRUE(aliased || caption.find(name) != std::string::npos) << scene.caption << " does not name " << name;
      EXPECT_TRUE(shared_world().stands_out(object, scene.background)) << scene.caption;
    }
    if (!scene.text.empty()) {
      EXPECT_LE(scene.text.size(), 6U);
      EXPECT_THAT(scene.caption, HasSubstr("\"" + scene.text + "\""));
    }
  }
  EXPECT_NEAR(canonical / 3000.0, 0.8, 0.04);
  EXPECT_NEAR(with_text / 3000.0, 1.0 / 3, 0.06);
  EXPECT_NEAR(pairs / 3000.0, 0.25, 0.04);
}

// What a relation says must hold for the places, and everything must lie inside the picture.
TEST(World, PlacesFitTheWords) {
  std::mt19937_64 random(6);
  for (int i = 0; i < 3000; ++i) {
    const Scene scene = shared_world().sample(random);
    for (const Object& object : scene.objects) {
      const int64_t half = object.size / 2 - 3;  // sprites have margins
      EXPECT_TRUE(object.centre_x - half >= 0 && object.centre_x + half <= 128) << scene.caption;
      EXPECT_TRUE(object.centre_y - half >= 0 && object.centre_y + half <= 128) << scene.caption;
    }
    const auto x = [&](size_t k) { return scene.objects[k].centre_x; };
    const auto y = [&](size_t k) { return scene.objects[k].centre_y; };
    switch (scene.arrangement) {
      case Arrangement::text_only: EXPECT_TRUE(scene.objects.empty() && !scene.text.empty()); break;
      case Arrangement::centre: EXPECT_NEAR(x(0), 64, 4); break;
      case Arrangement::left: EXPECT_LT(x(0), 50); break;
      case Arrangement::right: EXPECT_GT(x(0), 78); break;
      case Arrangement::top: EXPECT_LT(y(0), 44); break;
      case Arrangement::bottom: EXPECT_GT(y(0), 84); break;
      case Arrangement::left_of: EXPECT_LT(x(0) + 50, x(1)); break;
      case Arrangement::right_of: EXPECT_GT(x(0), x(1) + 50); break;
      case Arrangement::above: EXPECT_LT(y(0) + 50, y(1)); break;
      case Arrangement::below: EXPECT_GT(y(0), y(1) + 50); break;
    }
  }
}

TEST(World, LabelsLieWhereThingsAre) {
  const World& world = shared_world();
  const int64_t cat = class_named("cat");
  const std::vector<int64_t> labels = world.cell_labels(world.with_object(cat, colour_named("blue"), "HELLO"), 4);
  EXPECT_EQ(labels[1 * 4 + 1], cat);
  EXPECT_EQ(labels[1 * 4 + 2], cat);
  EXPECT_EQ(labels[3 * 4 + 1], text_class());
  EXPECT_EQ(labels[3 * 4 + 2], text_class());
  EXPECT_EQ(labels[0], 0);
  EXPECT_EQ(labels[3], 0);

  std::mt19937_64 random(8);
  for (int i = 0; i < 500; ++i) {
    const Scene scene = world.sample(random);
    std::set<int64_t> allowed = {0};
    for (const Object& object : scene.objects) allowed.insert(class_of(object));
    if (!scene.text.empty()) allowed.insert(text_class());
    const std::vector<int64_t> sampled = world.cell_labels(scene, 8);
    for (const int64_t label : sampled) EXPECT_TRUE(allowed.contains(label)) << scene.caption;
    EXPECT_EQ(std::set<int64_t>(sampled.begin(), sampled.end()).size(), allowed.size()) << scene.caption;
  }
  EXPECT_THROW(world.cell_labels(world.with_object(1, 1), 3), Error);
}

TEST(World, OtherSizesDrawTheSameThing) {
  const World large = World::open({.size = 256});
  std::mt19937_64 a(9), b(9);
  for (int i = 0; i < 20; ++i) {
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

TEST(World, IsFastEnoughToTrainFrom) {
  std::mt19937_64 random(22);
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < 500; ++i) shared_world().render(shared_world().sample(random));
  const std::chrono::duration<double, std::milli> spent = std::chrono::steady_clock::now() - start;
  EXPECT_LT(spent.count() / 500, 5) << "milliseconds per picture; about 0.15 in a release build on an idle core";
}

TEST(World, CorpusHoldsNamesWordsAndColours) {
  const std::vector<std::string> corpus = shared_world().caption_corpus();
  const std::set<std::string> distinct(corpus.begin(), corpus.end());
  EXPECT_TRUE(distinct.contains("a red apple on a green background"));
  std::string all;
  for (const std::string& caption : corpus) all += caption + "\n";
  for (int64_t id = 1; id < text_class(); ++id) {
    EXPECT_NE(all.find(class_names()[id]), std::string::npos) << class_names()[id];
  }
  for (const char* word : word_table()) EXPECT_TRUE(all.find(word) != std::string::npos) << word;
}

TEST(World, RefusesWhatItCannotDraw) {
  try {
    World::open({.emoji_font = "/nowhere/emoji.ttf"});
    FAIL() << "a missing font was accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    EXPECT_THAT(error.what(), HasSubstr("fonts-noto-color-emoji"));
  }
  EXPECT_THROW(World::open({.text_font = "/nowhere/text.ttf"}), Error);
  EXPECT_THROW(World::open({.size = 8}), Error);
  EXPECT_THROW(shared_world().with_object(0, 0), Error);
  EXPECT_THROW(shared_world().with_object(1, background_count()), Error);
  EXPECT_THROW(shared_world().with_object(1, 0, "lower"), Error);
  EXPECT_THROW(shared_world().with_object(text_class(), 0), Error);
}

}  // namespace
}  // namespace glmimage::train::world
