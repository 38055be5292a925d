#include <cstdio>

#include "core/error.h"
#include "eval/totals.h"
#include "train/world/world_tables.h"

namespace glmimage::eval {
namespace {

using nlohmann::json;

const std::string& class_name(int64_t id) { return world::class_names().at(static_cast<size_t>(id)); }

std::string named(const Naming& naming) { return naming.class_id == 0 ? "nothing" : class_name(naming.class_id); }

std::string colour_name(int64_t index) { return world::colour_table().at(static_cast<size_t>(index)).name; }

// Agreements and places are known to about two digits.
double rounded(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3f", value);
  return std::stod(text);
}

std::string percent(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.0f %%", 100 * value);
  return text;
}

}  // namespace

json to_json(const PictureResult& result) {
  json out = {{"right", result.all_right()}, {"background", {{"named", colour_name(result.background_named)}}}};
  if (result.background_wanted) {
    out["background"]["wanted"] = colour_name(*result.background_wanted);
    out["background"]["right"] = *result.background_wanted == result.background_named;
  }
  out["objects"] = json::array();
  for (const ObjectResult& object : result.objects) {
    out["objects"].push_back(
        {{"wanted", class_name(object.wanted_class)},
         {"named", object.named.class_id ? json(class_name(object.named.class_id)) : json(nullptr)},
         {"right", object.right()},
         {"agreement", rounded(object.named.agreement)},
         {"wanted_agreement", rounded(object.place.agreement)},
         {"x", rounded(object.place.x)},
         {"y", rounded(object.place.y)}});
  }
  if (result.place_right) out["place"] = {{"right", *result.place_right}};
  out["relations"] = json::array();
  for (const RelationResult& each : result.relations) {
    out["relations"].push_back(
        {{"first", each.first}, {"words", each.words}, {"second", each.second}, {"right", each.right}});
  }
  out["counts"] = json::array();
  for (const CountResult& each : result.counts) {
    out["counts"].push_back({{"object", class_name(each.class_id)},
                             {"wanted", each.wanted},
                             {"counted", each.counted},
                             {"right", each.counted == each.wanted}});
  }
  if (result.word) {
    out["word"] = {{"wanted", result.word->wanted},
                   {"read", result.word->read},
                   {"right", result.word->distance == 0},
                   {"edit_distance", rounded(result.word->distance)}};
  }
  return out;
}

std::vector<Mark> marks(const PictureResult& result) {
  std::vector<Mark> out;
  if (result.background_wanted) {
    const bool right = *result.background_wanted == result.background_named;
    const std::string wanted = colour_name(*result.background_wanted), seen = colour_name(result.background_named);
    out.push_back({right, right ? wanted + " background" : concat("background is ", seen, ", not ", wanted)});
  }
  for (const ObjectResult& object : result.objects) {
    std::string says = class_name(object.wanted_class);
    if (!object.right()) says += ": looks like " + named(object.named);
    out.push_back({object.right(), concat(says, " (", percent(object.named.agreement), ")")});
  }
  if (result.place_right) out.push_back({*result.place_right, *result.place_right ? "in its place" : "out of place"});
  for (const RelationResult& each : result.relations) {
    const std::string first = class_name(result.objects[each.first].wanted_class),
                      second = class_name(result.objects[each.second].wanted_class);
    out.push_back({each.right, concat(each.right ? "" : "not: ", first, " ", each.words, " ", second)});
  }
  for (const CountResult& each : result.counts) {
    const bool right = each.counted == each.wanted;
    std::string says = concat(each.wanted, " x ", class_name(each.class_id));
    if (!right) says += concat(": ", each.counted > each.wanted ? "more" : std::to_string(each.counted), " counted");
    out.push_back({right, std::move(says)});
  }
  if (result.word) {
    const bool right = result.word->distance == 0;
    const std::string read = result.word->read.empty() ? "nothing" : result.word->read;
    out.push_back({right, right ? "reads " + read : concat("reads ", read, ", not ", result.word->wanted)});
  }
  return out;
}

}  // namespace glmimage::eval
