#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>

#include "core/error.h"
#include "core/listing.h"
#include "eval/scenes.h"
#include "train/data/captions.h"
#include "train/world/world_tables.h"

namespace glmimage::eval {
namespace {

using nlohmann::json;
using world::Object;
using world::Scene;
using world::World;

// Where the objects of an arrangement lie: fractions of the picture's side, as the world places them.
struct Places {
  const char* name;
  std::vector<std::array<double, 2>> centres;
};

const std::vector<Places>& arrangements() {
  static const std::vector<Places> table = {
      {"centre", {{0.5, 0.5}}},
      {"left", {{0.25, 0.5}}},
      {"right", {{0.75, 0.5}}},
      {"top", {{0.5, 0.25}}},
      {"bottom", {{0.5, 0.75}}},
      {"top left", {{0.25, 0.25}}},
      {"top right", {{0.75, 0.25}}},
      {"bottom left", {{0.25, 0.75}}},
      {"bottom right", {{0.75, 0.75}}},
      {"left of", {{0.25, 0.5}, {0.75, 0.5}}},
      {"right of", {{0.75, 0.5}, {0.25, 0.5}}},
      {"above", {{0.5, 0.25}, {0.5, 0.75}}},
      {"below", {{0.5, 0.75}, {0.5, 0.25}}},
  };
  return table;
}

// A line's object, before it has become one of the world's.
struct Wish {
  int64_t class_id = 0;
  std::optional<double> x, y, size;  // fractions of the picture's side
};

std::string text_field(const json& line, const char* field) {
  const auto found = line.find(field);
  if (found == line.end() || found->is_null()) return {};
  if (!found->is_string()) fail(ErrorKind::usage, "field '", field, "' should be a string");
  return found->get<std::string>();
}

void refuse_unknown_fields(const json& object, const std::vector<std::string>& known) {
  for (const auto& [field, value] : object.items()) {
    if (std::find(known.begin(), known.end(), field) != known.end()) continue;
    fail(ErrorKind::usage, "field '", field, "' is not known; known are: ", listed(known, known.size()));
  }
}

int64_t class_named(const std::string& name) {
  const auto& names = world::class_names();
  for (int64_t id = 1; id < world::class_count(); ++id) {
    if (id != world::text_class() && names.at(static_cast<size_t>(id)) == name) return id;
  }
  fail(ErrorKind::usage, "the world has no object '", name,
       "'; objects are named as in \"red apple\", \"blue circle\"");
}

int64_t colour_named(const std::string& name) {
  for (int64_t i = 0; i < world::background_count(); ++i) {
    if (world::colour_table().at(static_cast<size_t>(i)).name == name) return i;
  }
  fail(ErrorKind::usage, "the world has no background '", name, "'");
}

std::optional<double> fraction(const json& object, const char* field) {
  const auto found = object.find(field);
  if (found == object.end() || found->is_null()) return {};
  if (!found->is_number() || !(found->get<double>() > 0 && found->get<double>() <= 1)) {
    fail(ErrorKind::usage, "field '", field, "' should be a fraction of the picture's side, above 0 and at most 1");
  }
  return found->get<double>();
}

Wish wish_of(const json& value) {
  if (value.is_string()) return {.class_id = class_named(value.get<std::string>()), .x = {}, .y = {}, .size = {}};
  if (!value.is_object()) fail(ErrorKind::usage, "an entry of 'objects' should be a name or an object with a name");
  refuse_unknown_fields(value, {"name", "x", "y", "size"});
  Wish wish;
  wish.class_id = class_named(text_field(value, "name"));
  wish.x = fraction(value, "x");
  wish.y = fraction(value, "y");
  wish.size = fraction(value, "size");
  if (wish.x.has_value() != wish.y.has_value()) fail(ErrorKind::usage, "'x' and 'y' go together");
  return wish;
}

std::vector<Wish> wishes_of(const json& line) {
  std::vector<Wish> out;
  const auto found = line.find("objects");
  if (found == line.end() || found->is_null()) return out;
  if (!found->is_array()) fail(ErrorKind::usage, "field 'objects' should be a list");
  for (const json& value : *found) out.push_back(wish_of(value));
  return out;
}

// Gives every wish a place; false when the line does not say where the objects are.
bool place(std::vector<Wish>& wishes, const std::string& arrangement) {
  const auto placed = std::count_if(wishes.begin(), wishes.end(), [](const Wish& wish) { return wish.x.has_value(); });
  const size_t count = wishes.size();
  if (placed > 0) {
    if (static_cast<size_t>(placed) != count) fail(ErrorKind::usage, "'x' and 'y' are given for all objects or none");
    if (!arrangement.empty()) fail(ErrorKind::usage, "'arrangement' and 'x', 'y' do not go together");
    return true;
  }
  if (count == 0) {
    if (!arrangement.empty()) fail(ErrorKind::usage, "'arrangement' needs objects");
    return false;
  }
  if (count > 2) fail(ErrorKind::usage, "three objects and more need 'x' and 'y' each");
  const std::string name = !arrangement.empty() ? arrangement : count == 1 ? "centre" : "left of";
  for (const Places& places : arrangements()) {
    if (places.name != name || places.centres.size() != count) continue;
    for (size_t i = 0; i < count; ++i) wishes[i].x = places.centres[i][0], wishes[i].y = places.centres[i][1];
    return !arrangement.empty();
  }
  fail(ErrorKind::usage, "'", arrangement, "' is no arrangement of ", count, count == 1 ? " object" : " objects");
}

Object to_object(const World& world, const Wish& wish, int64_t background) {
  Object object = world.with_object(wish.class_id, background).objects.front();
  const auto pixels = [&](double share) { return std::llround(share * static_cast<double>(world.size())); };
  object.centre_x = pixels(*wish.x);
  object.centre_y = pixels(*wish.y);
  if (wish.size) object.size = std::max<int64_t>(8, pixels(*wish.size));
  return object;
}

// The one asked for, or the first on which everything can be seen.
int64_t choose_background(const World& world, const std::vector<Wish>& wishes, const std::string& name) {
  const auto visible = [&](const Wish& wish, int64_t background) {
    return world.stands_out(world.with_object(wish.class_id, background).objects.front(), background);
  };
  if (!name.empty()) {
    const int64_t background = colour_named(name);
    for (const Wish& wish : wishes) {
      if (visible(wish, background)) continue;
      fail(ErrorKind::usage, "'", world::class_names().at(static_cast<size_t>(wish.class_id)),
           "' cannot be seen on a background that is ", name);
    }
    return background;
  }
  for (int64_t background = 0; background < world::background_count(); ++background) {
    const auto seen = [&](const Wish& wish) { return visible(wish, background); };
    if (std::all_of(wishes.begin(), wishes.end(), seen)) return background;
  }
  fail(ErrorKind::usage, "there is no background on which all objects can be seen");
}

void place_word(const World& world, Scene& scene, const std::string& where) {
  if (scene.text.empty()) {
    if (!where.empty()) fail(ErrorKind::usage, "'text_place' needs a 'text'");
    return;
  }
  if (!where.empty() && where != "top" && where != "bottom") {
    fail(ErrorKind::usage, "'text_place' is \"top\" or \"bottom\", not \"", where, "\"");
  }
  if (scene.objects.empty()) {
    if (!where.empty()) fail(ErrorKind::usage, "a word alone stands in the middle: 'text_place' needs objects");
    return;
  }
  const auto covered = [&] {
    const Rows rows = word_rows(scene, world.size());
    return std::any_of(scene.objects.begin(), scene.objects.end(), [&](const Object& object) {
      return object.centre_y - object.size / 2 < rows.last - scene.text_size / 5 &&
             object.centre_y + object.size / 2 > rows.first + scene.text_size / 5;
    });
  };
  // with_object() has put the word at the bottom.
  const int64_t bottom = scene.text_centre_y;
  const auto move_up = [&] {
    scene.text_place = world::TextPlace::top;
    scene.text_centre_y = world.size() - bottom;
  };
  if (where == "top" || (where.empty() && covered())) move_up();
  if (covered()) fail(ErrorKind::usage, "an object and the word lie on each other");
}

EvalScene scene_of(const World& world, const json& line) {
  refuse_unknown_fields(line, {"prompt", "background", "objects", "arrangement", "text", "text_place"});
  EvalScene out;
  out.prompt = text_field(line, "prompt");
  if (out.prompt.empty()) fail(ErrorKind::usage, "expected a field 'prompt'");
  std::vector<Wish> wishes = wishes_of(line);
  const std::string background = text_field(line, "background"), text = text_field(line, "text");
  if (wishes.empty() && text.empty() && background.empty()) {
    fail(ErrorKind::usage, "nothing to be seen is named: expected 'background', 'objects' or 'text'");
  }
  out.says_places = place(wishes, text_field(line, "arrangement"));
  out.says_background = !background.empty();
  const int64_t colour = choose_background(world, wishes, background);
  const int64_t first = wishes.empty() ? world::text_class() : wishes.front().class_id;
  if (first == world::text_class() && text.empty()) {
    out.scene.background = colour;  // bare
  } else {
    out.scene = world.with_object(first, colour, text);
  }
  out.scene.objects.clear();
  for (const Wish& wish : wishes) out.scene.objects.push_back(to_object(world, wish, colour));
  place_word(world, out.scene, text_field(line, "text_place"));
  out.scene.caption = out.prompt;
  return out;
}

}  // namespace

std::vector<EvalScene> read_scenes(const World& world, const std::filesystem::path& file) {
  std::ifstream lines(file, std::ios::binary);
  if (!lines) fail(ErrorKind::usage, file.string(), ": the list of scenes cannot be opened");
  std::vector<EvalScene> out;
  std::string text;
  for (int64_t number = 1; std::getline(lines, text); ++number) {
    if (number == 1 && text.starts_with("\xEF\xBB\xBF")) text.erase(0, 3);
    if (text.find_first_not_of(" \t\r") == std::string::npos) continue;
    try {
      out.push_back(scene_of(world, train::parse_json_object(text, "this line")));
    } catch (const Error& error) {
      fail(ErrorKind::usage, file.string(), ":", number, ": ", error.what());
    }
  }
  if (lines.bad()) fail(ErrorKind::usage, file.string(), ": reading this list failed");
  if (out.empty()) fail(ErrorKind::usage, file.string(), ": the list of scenes is empty");
  return out;
}

}  // namespace glmimage::eval
