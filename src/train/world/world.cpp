#include "train/world/world.h"

#include <algorithm>

#include "core/error.h"
#include "train/world/sprites.h"
#include "train/world/world_captions.h"
#include "train/world/world_tables.h"

namespace glmimage::train::world {
namespace {

int64_t emoji_count() { return static_cast<int64_t>(emoji_table().size()); }
int64_t shape_count() { return static_cast<int64_t>(shape_table().size()); }

bool is_vertical_pair(Arrangement arrangement) {
  return arrangement == Arrangement::above || arrangement == Arrangement::below;
}

// Perceived brightness, as in JPEG: dark letters on light backgrounds and the other way round.
int64_t text_colour_on(int64_t background) {
  const auto& rgb = colour_table().at(background).rgb;
  return 299 * rgb[0] + 587 * rgb[1] + 114 * rgb[2] > 135000 ? kBlack : kWhite;
}

Object object_of_class(int64_t class_id) {
  Object object;
  if (class_id <= emoji_count()) {
    object.index = class_id - 1;
    return object;
  }
  object.kind = ObjectKind::shape;
  object.index = (class_id - 1 - emoji_count()) / kShapeColours;
  object.colour = (class_id - 1 - emoji_count()) % kShapeColours;
  return object;
}

Object sample_object(Dice& dice, bool emoji) {
  const int64_t first = emoji ? 1 : 1 + emoji_count();
  return object_of_class(first + dice.below(emoji ? emoji_count() : shape_count() * kShapeColours));
}

std::string sample_text(Dice& dice) {
  static const char kSigns[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
  const int64_t kind = dice.below(10);
  if (kind < 5) return word_table()[dice.below(static_cast<int64_t>(word_table().size()))];
  const bool digits = kind >= 8;
  std::string text;
  for (int64_t left = dice.between(1, digits ? 4 : 6); left > 0; --left) {
    text += digits ? kSigns[26 + dice.below(10)] : kSigns[dice.below(26)];
  }
  return text;
}

Arrangement sample_place(Dice& dice) {
  static const Arrangement kPlaces[] = {Arrangement::left, Arrangement::right, Arrangement::top, Arrangement::bottom};
  return dice.percent(60) ? Arrangement::centre : kPlaces[dice.below(4)];
}

Arrangement sample_relation(Dice& dice) {
  static const Arrangement kRelations[] = {Arrangement::left_of, Arrangement::right_of, Arrangement::above,
                                           Arrangement::below};
  return kRelations[dice.below(4)];
}

}  // namespace

int64_t text_class() { return 1 + emoji_count() + shape_count() * kShapeColours; }
int64_t class_count() { return text_class() + 1; }
int64_t background_count() { return static_cast<int64_t>(colour_table().size()); }
int64_t shape_colour_count() { return kShapeColours; }

int64_t class_of(const Object& object) {
  if (object.kind == ObjectKind::emoji) return 1 + object.index;
  return 1 + emoji_count() + object.index * kShapeColours + object.colour;
}

const std::vector<std::string>& class_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> list = {"background"};
    for (const Emoji& emoji : emoji_table()) {
      const std::string name = emoji.name;
      const size_t article = name.rfind("a ", 0) == 0 ? 2 : name.rfind("an ", 0) == 0 ? 3 : 0;
      list.push_back(name.substr(article));
    }
    for (const Shape& shape : shape_table()) {
      for (int64_t c = 0; c < kShapeColours; ++c) {
        list.push_back(std::string(colour_table()[c].name) + " " + shape.name);
      }
    }
    list.emplace_back("text");
    return list;
  }();
  return names;
}

World World::open(const WorldOptions& options) {
  if (options.size < 32 || options.size > 1024) {
    fail(ErrorKind::usage, "the world's pictures are 32-1024 pixels wide, ", options.size, " were asked for");
  }
  World world;
  world.options_ = options;
  world.assets_ = std::make_shared<const Assets>(prepare_assets(options.size, options.emoji_font, options.text_font));
  return world;
}

bool World::stands_out(const Object& object, int64_t background) const {
  if (object.kind == ObjectKind::shape) return object.colour != background;
  return assets_->emoji_stands_out.at(object.index).at(background) != 0;
}

// Sets sizes and places from arrangement, objects and text. Numbers are for a picture of 128 pixels. Every object is
// two visual tokens high and begins where a token begins, and a word has a row of tokens to itself: so an object is
// always cut into the same parts, few enough for a code each (docs/training.md).
void World::lay_out(Scene& scene) const {
  const auto at = [&](int64_t base) { return scaled(base, options_.size); };
  for (size_t i = 0; i < scene.objects.size(); ++i) {
    Object& object = scene.objects[i];
    object.size = at(kObjectSize);
    int64_t x = 64, y = 64;
    const int64_t side = i == 0 ? 1 : -1;  // the second object lies where the first does not
    switch (scene.arrangement) {
      case Arrangement::left: x -= 32; break;
      case Arrangement::right: x += 32; break;
      case Arrangement::top: y -= 32; break;
      case Arrangement::bottom: y += 32; break;
      case Arrangement::left_of: x -= side * 32; break;
      case Arrangement::right_of: x += side * 32; break;
      case Arrangement::above: y -= side * 32; break;
      case Arrangement::below: y += side * 32; break;
      default: break;
    }
    object.centre_x = at(x);
    object.centre_y = at(y);
  }
  if (scene.text.empty()) return;
  const bool alone = scene.objects.empty();
  scene.text_colour = text_colour_on(scene.background);
  for (const GlyphSet& set : assets_->glyphs) {
    scene.text_size = set.size;
    int64_t width = 0;
    for (const char letter : scene.text) width += set.letters.at(letter_index(letter)).advance;
    if (width <= at(120) && (alone || set.size <= at(28))) break;
  }
  scene.text_centre_y = at(alone ? 64 : scene.text_place == TextPlace::top ? 16 : 112);
}

Scene World::sample(std::mt19937_64& random) const {
  Dice dice(random);
  Scene scene;
  const int64_t kind = dice.below(100);  // 48 one emoji, 17 one shape, 25 two objects, 10 a word alone
  if (kind < 65) {
    scene.arrangement = sample_place(dice);
    scene.objects = {sample_object(dice, kind < 48)};
  } else if (kind < 90) {
    scene.arrangement = sample_relation(dice);
    do {
      scene.objects = {sample_object(dice, dice.percent(65)), sample_object(dice, dice.percent(65))};
    } while (class_of(scene.objects[0]) == class_of(scene.objects[1]));
  }
  const auto drowns = [&](const Object& object) { return !stands_out(object, scene.background); };
  do {
    scene.background = dice.below(background_count());
  } while (std::any_of(scene.objects.begin(), scene.objects.end(), drowns));
  // Two objects on top of each other fill the picture.
  if (scene.objects.empty() || (!is_vertical_pair(scene.arrangement) && dice.percent(30))) {
    scene.text = sample_text(dice);
    scene.text_place = dice.percent(75) ? TextPlace::bottom : TextPlace::top;
    if (scene.arrangement == Arrangement::top) scene.text_place = TextPlace::bottom;
    if (scene.arrangement == Arrangement::bottom) scene.text_place = TextPlace::top;
    if (scene.objects.empty()) scene.text_place = TextPlace::centre;
  }
  lay_out(scene);
  scene.caption = sample_caption(scene, dice);
  return scene;
}

Scene World::with_object(int64_t class_id, int64_t background, const std::string& text) const {
  if (class_id < 1 || class_id > text_class() || background < 0 || background >= background_count()) {
    fail(ErrorKind::usage, "a scene needs a class from 1 to ", text_class(), " and a background below ",
         background_count(), ", not ", class_id, " and ", background);
  }
  const bool plain = std::all_of(text.begin(), text.end(), [](char letter) { return letter_index(letter) >= 0; });
  if (!plain || text.size() > 6 || (class_id == text_class() && text.empty())) {
    fail(ErrorKind::usage, "texts are 1-6 of A-Z and 0-9, this one is \"", text, "\"");
  }
  Scene scene;
  scene.background = background;
  scene.text = text;
  if (class_id != text_class()) {
    scene.arrangement = Arrangement::centre;
    scene.objects = {object_of_class(class_id)};
  }
  if (!text.empty()) scene.text_place = scene.objects.empty() ? TextPlace::centre : TextPlace::bottom;
  lay_out(scene);
  scene.caption = canonical_caption(scene);
  return scene;
}

std::vector<std::string> World::caption_corpus() const {
  constexpr int kSampled = 12000;
  std::vector<std::string> corpus;
  for (int64_t id = 1; id < text_class(); ++id) {
    for (int64_t background = 0; background < background_count(); ++background) {
      corpus.push_back(with_object(id, background).caption);
    }
  }
  for (const char* word : word_table()) corpus.push_back(with_object(text_class(), kWhite, word).caption);
  for (const Emoji& emoji : emoji_table()) {
    if (emoji.alias != nullptr) corpus.emplace_back(emoji.alias);
  }
  std::mt19937_64 random(1);
  for (int i = 0; i < kSampled; ++i) corpus.push_back(sample(random).caption);
  return corpus;
}

}  // namespace glmimage::train::world
