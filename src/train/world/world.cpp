#include "train/world/world.h"

#include <algorithm>

#include "core/error.h"
#include "train/world/arrangements.h"
#include "train/world/sprites.h"
#include "train/world/world_tables.h"
#include "train/world/writing.h"

namespace glmimage::train::world {
namespace {

int64_t emoji_count() { return static_cast<int64_t>(emoji_table().size()); }
int64_t shape_count() { return static_cast<int64_t>(shape_table().size()); }

// Perceived brightness, as in JPEG: dark letters on light backgrounds and the other way round.
int64_t text_colour_on(int64_t background) {
  const auto& rgb = colour_table().at(background).rgb;
  return 299 * rgb[0] + 587 * rgb[1] + 114 * rgb[2] > 135000 ? kBlack : kWhite;
}

void check_ids(const std::vector<int64_t>& class_ids, int64_t background) {
  const auto known = [](int64_t id) { return id >= 1 && id < text_class(); };
  if (std::all_of(class_ids.begin(), class_ids.end(), known) && background >= 0 && background < background_count()) {
    return;
  }
  fail(ErrorKind::usage, "a scene needs classes from 1 to ", text_class() - 1, " and a background below ",
       background_count(), ", not ", class_ids.empty() ? -1 : class_ids[0], " and ", background);
}

void check_arrangement(const Scene& scene) {
  const auto& objects = scene.objects;
  const size_t places = places_of(scene.arrangement).size();
  if (objects.size() != places) {
    fail(ErrorKind::usage, "the arrangement has ", places, " places, for ", objects.size(), " objects");
  }
  if (is_relation(scene.arrangement) && class_of(objects[0]) == class_of(objects[1])) {
    fail(ErrorKind::usage, "a relation is between two different objects, not two of ",
         class_names()[class_of(objects[0])]);
  }
  const auto other = [&](const Object& object) { return class_of(object) != class_of(objects[0]); };
  if (is_count(scene.arrangement) && (!countable(objects[0]) || std::any_of(objects.begin(), objects.end(), other))) {
    fail(ErrorKind::usage, "a row or a triangle is of equal objects with a plural, not of ",
         class_names()[class_of(objects[0])], " and ", class_names()[class_of(objects[1])]);
  }
}

void check_text(const Scene& scene, Languages languages) {
  if (scene.text.empty()) {
    if (scene.objects.empty()) fail(ErrorKind::usage, "a scene with neither objects nor a text");
    return;
  }
  if (read_writing(scene.text).script == Script::chinese && languages == Languages::english) {
    fail(ErrorKind::usage, "the text \"", scene.text, "\" needs a world opened with Languages::english_and_chinese");
  }
  if (text_places(scene.arrangement).empty()) {
    fail(ErrorKind::usage, "the objects fill the picture: there is no room for the text \"", scene.text, "\"");
  }
}

}  // namespace

int64_t text_class() { return 1 + emoji_count() + shape_count() * background_count(); }
int64_t class_count() { return text_class() + 1; }
int64_t background_count() { return static_cast<int64_t>(colour_table().size()); }

int64_t class_of(const Object& object) {
  if (object.kind == ObjectKind::emoji) return 1 + object.index;
  return 1 + emoji_count() + object.index * background_count() + object.colour;
}

bool countable(const Object& object) {
  return object.kind == ObjectKind::shape || emoji_table().at(object.index).plural != nullptr;
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
      for (const Colour& colour : colour_table()) list.push_back(std::string(colour.name) + " " + shape.name);
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
  FontFiles fonts{options.emoji_font, options.text_font, {}};
  if (options.languages == Languages::english_and_chinese) fonts.chinese = options.chinese_font;
  world.assets_ = std::make_shared<const Assets>(prepare_assets(options.size, fonts));
  return world;
}

bool World::stands_out(const Object& object, int64_t background) const {
  if (object.kind == ObjectKind::shape) return object.colour != background;
  return assets_->emoji_stands_out.at(object.index).at(background) != 0;
}

// Sets sizes and places from arrangement, objects and text.
void World::lay_out(Scene& scene) const {
  const auto at = [&](int64_t base) { return scaled(base, options_.size); };
  const std::vector<Place>& places = places_of(scene.arrangement);
  for (size_t i = 0; i < scene.objects.size(); ++i) {
    scene.objects[i].size = at(kObjectSize);
    scene.objects[i].centre_x = at(places[i].x);
    scene.objects[i].centre_y = at(places[i].y);
  }
  if (scene.text.empty()) return;
  const bool alone = scene.objects.empty();
  const Writing writing = read_writing(scene.text);
  scene.text_colour = text_colour_on(scene.background);
  const Lettering lettering = lettering_of(writing.script);
  const int64_t room = kBaseSize - static_cast<int64_t>(writing.signs.size()) * lettering.cell;
  scene.text_size = at(lettering.font_size);
  scene.text_left = at(room / 2 / kPatchSize * kPatchSize);  // as near to the middle as patches allow
  scene.text_centre_y = at(alone ? 64 : scene.text_place == TextPlace::top ? 16 : 112);
}

Scene World::with_object(int64_t class_id, int64_t background, const std::string& text) const {
  if (class_id == text_class()) return with_objects({}, Arrangement::text_only, background, text);
  return with_objects({class_id}, Arrangement::centre, background, text);
}

Scene World::with_objects(const std::vector<int64_t>& class_ids, Arrangement arrangement, int64_t background,
                          const std::string& text) const {
  check_ids(class_ids, background);
  Scene scene;
  scene.background = background;
  scene.arrangement = arrangement;
  scene.text = text;
  for (const int64_t id : class_ids) scene.objects.push_back(object_of_class(id));
  check_arrangement(scene);
  check_text(scene, options_.languages);
  if (!text.empty()) scene.text_place = text_places(arrangement).front();
  lay_out(scene);
  scene.caption = canonical_caption(scene);
  return scene;
}

}  // namespace glmimage::train::world
