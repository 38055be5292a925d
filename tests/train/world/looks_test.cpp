#include <gmock/gmock.h>

#include <cmath>
#include <map>

#include "text/utf8.h"
#include "train/world/world_helpers.h"
#include "train/world/writing.h"

namespace glmimage::train::world {
namespace {

// An object alone on white, black and gray, each in 16 x 16 means of 4 x 4 pixels: what is left at a glance.
std::vector<double> glance(int64_t id) {
  std::vector<double> means;
  for (const std::string background : {"white", "black", "gray"}) {
    const Image image = shared_world().render(shared_world().with_object(id, colour_named(background)));
    for (int64_t cell = 0; cell < 16 * 16; ++cell) {
      const int64_t left = 32 + cell % 16 * 4, top = 32 + cell / 16 * 4;
      for (int64_t c = 0; c < 3; ++c) {
        double sum = 0;
        for (int64_t i = 0; i < 16; ++i) sum += image.pixels[3 * ((top + i / 4) * image.width + left + i % 4) + c];
        means.push_back(sum / 16);
      }
    }
  }
  return means;
}

TEST(WorldLooks, EveryObjectIsSeenSomewhere) {
  const World& world = shared_world();
  for (int64_t id = 1; id < text_class(); ++id) {
    int64_t backgrounds = 0;
    for (int64_t background = 0; background < background_count(); ++background) {
      const Scene scene = world.with_object(id, background);
      if (!world.stands_out(scene.objects[0], background)) continue;
      ++backgrounds;
      EXPECT_GT(foreground(world.render(scene), background), 500) << scene.caption;
    }
    EXPECT_GE(backgrounds, 8) << class_names()[id];
  }
  EXPECT_FALSE(world.stands_out(world.with_object(class_named("cloud"), 0).objects[0], colour_named("white")));
}

TEST(WorldLooks, EveryObjectIsUnlikeTheOthers) {
  std::vector<std::vector<double>> glances = {{}};
  for (int64_t id = 1; id < text_class(); ++id) glances.push_back(glance(id));
  for (int64_t a = 1; a < text_class(); ++a) {
    for (int64_t b = 1; b < a; ++b) {
      double square = 0;
      for (size_t i = 0; i < glances[a].size(); ++i) square += std::pow(glances[a][i] - glances[b][i], 2);
      EXPECT_GT(std::sqrt(square / static_cast<double>(glances[a].size())), 24)
          << class_names()[a] << " looks like " << class_names()[b];
    }
  }
}

TEST(WorldLooks, EveryLetterIsWritten) {
  std::map<uint64_t, char32_t> seen;
  for (const char32_t sign : signs_of(Script::latin)) {
    const Scene scene = shared_world().with_object(text_class(), 0, std::string(1, static_cast<char>(sign)));
    const Image image = shared_world().render(scene);
    EXPECT_GT(foreground(image, 0), 100) << static_cast<char>(sign);
    EXPECT_TRUE(seen.emplace(fingerprint(image.pixels), sign).second) << static_cast<char>(sign);
  }
}

// Ink, as large as its size says, and of every character another: a font without one would draw the same box for all.
TEST(WorldLooks, EveryChineseCharacterIsWritten) {
  NEEDS_CHINESE_FONT();
  const World& world = chinese_world();
  std::map<uint64_t, std::string> seen;
  for (const char32_t sign : chinese_signs()) {
    std::string text;
    append_utf8(text, sign);
    const Image alone = world.render(world.with_object(text_class(), 0, text));
    EXPECT_GT(foreground(alone, 0), 28 * 3) << text;
    EXPECT_TRUE(seen.emplace(fingerprint(alone.pixels), text).second) << text << " is drawn as another";
  }
}

}  // namespace
}  // namespace glmimage::train::world
