#include <gmock/gmock.h>

#include <set>

#include "core/error.h"
#include "train/world/arrangements.h"
#include "train/world/world_helpers.h"

namespace glmimage::train::world {
namespace {

struct Box {
  int64_t left, top, right, bottom;  // the last two not included
  bool holds(int64_t x, int64_t y) const { return x >= left && x < right && y >= top && y < bottom; }
};

Box box_of(const Object& object) {
  const int64_t half = object.size / 2;
  return {object.centre_x - half, object.centre_y - half, object.centre_x + half, object.centre_y + half};
}

// The rows of visual tokens that are the text's.
Box text_box(const Scene& scene, int64_t size) {
  const int64_t token = size / 4;
  switch (scene.text_place) {
    case TextPlace::top: return {0, 0, size, token};
    case TextPlace::bottom: return {0, 3 * token, size, size};
    case TextPlace::centre: return {0, token, size, 3 * token};
    case TextPlace::none: break;
  }
  return {0, 0, 0, 0};
}

// Every object is two tokens high and wide, begins where a token begins, and shares no token with anything else;
// nothing is painted outside these tokens.
void expect_on_the_grid(const World& world, const Scene& scene) {
  const int64_t token = world.size() / 4;
  const Image image = world.render(scene);
  std::vector<Box> boxes;
  for (const Object& object : scene.objects) boxes.push_back(box_of(object));
  if (!scene.text.empty()) boxes.push_back(text_box(scene, world.size()));
  for (const Object& object : scene.objects) {
    EXPECT_EQ(object.size, 2 * token) << scene.caption;
    const Box box = box_of(object);
    EXPECT_TRUE(box.left % token == 0 && box.top % token == 0) << scene.caption;
    EXPECT_TRUE(box.left >= 0 && box.top >= 0 && box.right <= world.size() && box.bottom <= world.size());
  }
  for (int64_t y = 0; y < world.size(); ++y) {
    for (int64_t x = 0; x < world.size(); ++x) {
      const int64_t inside = std::count_if(boxes.begin(), boxes.end(), [&](const Box& box) { return box.holds(x, y); });
      ASSERT_LE(inside, 1) << scene.caption << ": two things at " << x << ", " << y;
      ASSERT_TRUE(inside == 1 || is_background(image, x, y, scene.background)) << scene.caption << ": ink outside";
    }
  }
}

TEST(WorldLayout, EverythingLiesOnTheGridOfTokens) {
  const World large = World::open({.size = 256});
  std::mt19937_64 random(6);
  for (int i = 0; i < 1500; ++i) expect_on_the_grid(shared_world(), shared_world().sample(random));
  for (int i = 0; i < 100; ++i) expect_on_the_grid(large, large.sample(random));
  // The longest, the widest, and those with the longest descents.
  for (const std::string text : {"WWWWWWWW", "gjpqy", "Qgjpqy", "lbdfhk", "I", "gg", "88888888", "mmmmmmmm"}) {
    expect_on_the_grid(shared_world(), shared_world().with_object(text_class(), 0, text));
    expect_on_the_grid(shared_world(), shared_world().with_object(class_named("dog"), 0, text));
    expect_on_the_grid(shared_world(), shared_world().with_objects({class_named("dog")}, Arrangement::bottom, 0, text));
  }
}

TEST(WorldLayout, ChineseTextsLieOnTheGridToo) {
  NEEDS_CHINESE_FONT();
  for (const std::string text : chinese_word_table()) {
    expect_on_the_grid(chinese_world(), chinese_world().with_object(text_class(), 0, text));
    expect_on_the_grid(chinese_world(), chinese_world().with_object(class_named("dog"), 0, text));
  }
}

// The pixels of a sign's cell: `index` signs from the left, the whole row of tokens high.
std::vector<uint8_t> cell_pixels(const World& world, const Scene& scene, int64_t index, int64_t cell) {
  const Image image = world.render(scene);
  std::vector<uint8_t> pixels;
  for (int64_t y = scene.text_centre_y - 16; y < scene.text_centre_y + 16; ++y) {
    const auto* row = &image.pixels[static_cast<size_t>((y * image.width + scene.text_left + index * cell) * 3)];
    pixels.insert(pixels.end(), row, row + cell * 3);
  }
  return pixels;
}

TEST(WorldLayout, ASignHasThePatchesOfItsCellToItself) {
  const World& world = shared_world();
  const std::vector<uint8_t> alone = cell_pixels(world, world.with_object(text_class(), 0, "K"), 0, 16);
  for (int64_t letters = 1; letters <= 8; ++letters) {
    for (int64_t i = 0; i < letters; ++i) {
      std::string text(static_cast<size_t>(letters), 'W');
      text[static_cast<size_t>(i)] = 'K';
      const Scene scene = world.with_object(text_class(), 0, text);
      EXPECT_EQ(scene.text_left % 16, 0) << text;
      EXPECT_NEAR(static_cast<double>(scene.text_left + letters * 8), 64, 8) << text << " is off the middle";
      EXPECT_EQ(cell_pixels(world, scene, i, 16), alone) << text;
    }
  }
}

TEST(WorldLayout, AChineseSignHasItsPatchesToItself) {
  NEEDS_CHINESE_FONT();
  const World& world = chinese_world();
  const std::vector<uint8_t> alone = cell_pixels(world, world.with_object(text_class(), 0, "火"), 0, 32);
  for (const auto& [text, index] : {std::pair{"火车", 0}, std::pair{"车火", 1}}) {
    const Scene scene = world.with_object(text_class(), 0, text);
    EXPECT_EQ(scene.text_left, 32);
    EXPECT_EQ(cell_pixels(world, scene, index, 32), alone) << text;
  }
}

// Wherever an object lies it has the same pixels, token by token.
TEST(WorldLayout, AnObjectIsAlwaysCutIntoTheSameParts) {
  const int64_t background = colour_named("pink"), dog = class_named("dog"), star = class_named("blue star");
  const auto pixels = [&](const Scene& scene, size_t i) {
    const Image image = shared_world().render(scene);
    const Box box = box_of(scene.objects[i]);
    std::vector<uint8_t> part;
    for (int64_t y = box.top; y < box.bottom; ++y) {
      const auto row = image.pixels.begin() + 3 * (y * image.width + box.left);
      part.insert(part.end(), row, row + 3 * (box.right - box.left));
    }
    return part;
  };
  for (int a = 0; a <= static_cast<int>(Arrangement::triangle); ++a) {
    const auto arrangement = static_cast<Arrangement>(a);
    for (const int64_t id : {dog, star}) {
      const auto usual = pixels(shared_world().with_object(id, background), 0);
      std::vector<int64_t> ids(places_of(arrangement).size(), id);
      if (is_relation(arrangement)) ids[1] = id == dog ? star : dog;
      if (ids.empty()) continue;
      const Scene scene = shared_world().with_objects(ids, arrangement, background);
      for (size_t i = 0; i < ids.size(); ++i) {
        EXPECT_TRUE(ids[i] != id || pixels(scene, i) == usual) << scene.caption;
      }
    }
  }
}

// What the words say must hold for the places.
TEST(WorldLayout, PlacesFitTheWords) {
  std::mt19937_64 random(7);
  std::set<Arrangement> seen;
  for (int i = 0; i < 3000; ++i) {
    const Scene scene = shared_world().sample(random);
    seen.insert(scene.arrangement);
    const auto x = [&](size_t k) { return scene.objects.at(k).centre_x; };
    const auto y = [&](size_t k) { return scene.objects.at(k).centre_y; };
    const auto left = [&] { return x(0) < 50; };
    const auto right = [&] { return x(0) > 78; };
    const auto top = [&] { return y(0) < 50; };
    const auto bottom = [&] { return y(0) > 78; };
    switch (scene.arrangement) {
      case Arrangement::text_only: EXPECT_TRUE(scene.objects.empty() && !scene.text.empty()); break;
      case Arrangement::centre: EXPECT_TRUE(x(0) == 64 && y(0) == 64); break;
      case Arrangement::left: EXPECT_TRUE(left() && y(0) == 64); break;
      case Arrangement::right: EXPECT_TRUE(right() && y(0) == 64); break;
      case Arrangement::top: EXPECT_TRUE(x(0) == 64 && top()); break;
      case Arrangement::bottom: EXPECT_TRUE(x(0) == 64 && bottom()); break;
      case Arrangement::top_left: EXPECT_TRUE(left() && top()); break;
      case Arrangement::top_right: EXPECT_TRUE(right() && top()); break;
      case Arrangement::bottom_left: EXPECT_TRUE(left() && bottom()); break;
      case Arrangement::bottom_right: EXPECT_TRUE(right() && bottom()); break;
      case Arrangement::left_of: EXPECT_LT(x(0) + 50, x(1)); break;
      case Arrangement::right_of: EXPECT_GT(x(0), x(1) + 50); break;
      case Arrangement::above: EXPECT_LT(y(0) + 50, y(1)); break;
      case Arrangement::below: EXPECT_GT(y(0), y(1) + 50); break;
      case Arrangement::row: EXPECT_TRUE(scene.objects.size() == 2 && y(0) == y(1)); break;
      case Arrangement::triangle: EXPECT_TRUE(scene.objects.size() == 3 && y(0) == y(1) && y(2) > y(0)); break;
    }
  }
  EXPECT_EQ(seen.size(), static_cast<size_t>(Arrangement::triangle) + 1) << "every arrangement is sampled";
}

TEST(WorldLayout, LabelsLieWhereThingsAre) {
  const World& world = shared_world();
  const int64_t cat = class_named("cat");
  const std::vector<int64_t> labels = world.cell_labels(world.with_object(cat, colour_named("blue"), "HELLO"), 4);
  EXPECT_EQ(labels[1 * 4 + 1], cat);
  EXPECT_EQ(labels[1 * 4 + 2], cat);
  EXPECT_EQ(labels[3 * 4 + 1], text_class());
  EXPECT_EQ(labels[3 * 4 + 2], text_class());
  EXPECT_EQ(labels[0], 0);
  EXPECT_EQ(labels[3], 0);
  const int64_t square = class_named("red square");
  const Scene three = world.with_objects({square, square, square}, Arrangement::triangle, colour_named("blue"));
  const std::vector<int64_t> expected = {square, square, square, square, square, square, square, square,  //
                                         0,      square, square, 0,      0,      square, square, 0};
  EXPECT_EQ(world.cell_labels(three, 4), expected);

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

}  // namespace
}  // namespace glmimage::train::world
