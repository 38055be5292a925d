#include "eval/check.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>

#include "text/edit_distance.h"
#include "train/world/world_tables.h"

namespace glmimage::eval {
namespace {

using world::Object;
using world::ObjectKind;
using world::Scene;
using world::World;

// An eighth of the side: halfway between neighbouring places of the world, which are a quarter apart.
constexpr double kNear = 0.125;

Place place_of(const Object& object, int64_t picture) {
  return {static_cast<double>(object.centre_x) / static_cast<double>(picture),
          static_cast<double>(object.centre_y) / static_cast<double>(picture), 1};
}

// Takes the found place next to where the object should be: equal objects share what was found.
Place take_nearest(std::vector<Place>& found, const Place& wanted) {
  const auto distance = [&](const Place& place) { return std::hypot(place.x - wanted.x, place.y - wanted.y); };
  const auto nearest = std::min_element(found.begin(), found.end(),
                                        [&](const Place& a, const Place& b) { return distance(a) < distance(b); });
  const Place place = *nearest;
  found.erase(nearest);
  return place;
}

std::map<int64_t, size_t> numbers_of(const Scene& scene) {
  std::map<int64_t, size_t> numbers;
  for (const Object& object : scene.objects) ++numbers[class_of(object)];
  return numbers;
}

void compare_shapes(ObjectResult& result, const World& world) {
  if (result.wanted.kind != ObjectKind::shape || result.named.class_id == 0) return;
  const Object named = world.with_object(result.named.class_id, 0).objects.front();
  if (named.kind != ObjectKind::shape) return;
  result.form_right = named.index == result.wanted.index;
  result.colour_right = named.colour == result.wanted.colour;
}

std::vector<RelationResult> check_relations(const std::vector<ObjectResult>& objects, int64_t picture) {
  std::vector<RelationResult> out;
  for (size_t i = 0; i < objects.size(); ++i) {
    for (size_t j = i + 1; j < objects.size(); ++j) {
      const ObjectResult &a = objects[i], &b = objects[j];
      if (a.wanted_class == b.wanted_class) continue;
      const Place to = place_of(b.wanted, picture), from = place_of(a.wanted, picture);
      const bool across = std::abs(to.x - from.x) >= std::abs(to.y - from.y);
      const double wanted = across ? to.x - from.x : to.y - from.y;
      const double found = across ? b.place.x - a.place.x : b.place.y - a.place.y;
      RelationResult relation{i, j, across ? (wanted > 0 ? "left of" : "right of") : (wanted > 0 ? "above" : "below")};
      relation.right = a.seen() && b.seen() && (wanted > 0 ? found : -found) >= kNear;
      out.push_back(relation);
    }
  }
  return out;
}

}  // namespace

bool PictureResult::all_right() const {
  return (!background_wanted || *background_wanted == background_named) && place_right.value_or(true) &&
         std::all_of(objects.begin(), objects.end(), [](const ObjectResult& each) { return each.right(); }) &&
         std::all_of(relations.begin(), relations.end(), [](const RelationResult& each) { return each.right; }) &&
         std::all_of(counts.begin(), counts.end(), [](const CountResult& c) { return c.counted == c.wanted; }) &&
         (!word || word->distance == 0);
}

std::vector<ObjectResult> Checker::check_objects(const View& view, const Scene& scene) {
  std::map<int64_t, std::vector<Place>> found;
  const auto numbers = numbers_of(scene);
  std::vector<ObjectResult> out;
  for (const Object& object : scene.objects) {
    ObjectResult result;
    result.wanted = object;
    result.wanted_class = class_of(object);
    std::vector<Place>& places = found[result.wanted_class];
    if (places.empty()) {
      places = recogniser_.find(view, result.wanted_class, object.size, numbers.at(result.wanted_class));
    }
    result.place = take_nearest(places, place_of(object, recogniser_.world().size()));
    result.named = recogniser_.name(view, result.place, object.size);
    compare_shapes(result, recogniser_.world());
    out.push_back(result);
  }
  return out;
}

std::vector<CountResult> Checker::check_counts(const View& view, const Scene& scene) {
  std::vector<CountResult> out;
  for (const auto& [class_id, number] : numbers_of(scene)) {
    if (number < 2) continue;
    const auto same = [id = class_id](const Object& object) { return class_of(object) == id; };
    const int64_t size = std::find_if(scene.objects.begin(), scene.objects.end(), same)->size;
    CountResult count{class_id, static_cast<int64_t>(number), 0};
    for (const Place& place : recogniser_.find(view, class_id, size, number + 1)) {
      if (place.agreement < Recogniser::kSeen) continue;
      count.counted += recogniser_.name(view, place, size).class_id == class_id ? 1 : 0;
    }
    out.push_back(count);
  }
  return out;
}

std::optional<WordResult> Checker::check_word(const Image& image, const View& view, const Scene& scene,
                                              const std::function<bool()>& cancelled) const {
  if (scene.text.empty() || !reader_ || !reader_->can_read(scene.text)) return {};
  std::array<double, 3> background = {};
  for (int64_t c = 0; c < 3; ++c) background[static_cast<size_t>(c)] = 255 * view.background_rgb[c].item<double>();
  WordResult word;
  word.wanted = scene.text;
  word.read = reader_->read(word_strip(image, scene, background), scene.text, cancelled);
  word.distance = normalised_edit_distance(word.wanted, word.read);
  return word;
}

PictureResult Checker::check(const Image& image, const EvalScene& scene, const std::function<bool()>& cancelled,
                             const Aspects& aspects) {
  const View view = recogniser_.look(image, scene.scene);
  const int64_t picture = recogniser_.world().size();
  PictureResult result;
  if (scene.says_background) result.background_wanted = scene.scene.background;
  result.background_named = view.background;
  if (aspects.objects) result.objects = check_objects(view, scene.scene);
  if (scene.says_places && result.objects.size() == 1) {
    const ObjectResult& object = result.objects.front();
    const Place wanted = place_of(object.wanted, picture);
    result.place_right =
        object.seen() && std::abs(object.place.x - wanted.x) < kNear && std::abs(object.place.y - wanted.y) < kNear;
  }
  if (scene.says_places) result.relations = check_relations(result.objects, picture);
  if (aspects.counts) result.counts = check_counts(view, scene.scene);
  if (aspects.word) result.word = check_word(image, view, scene.scene, cancelled);
  return result;
}

}  // namespace glmimage::eval
