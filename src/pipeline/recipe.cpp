#include "pipeline/recipe.h"

#include <cmath>
#include <limits>

#include "core/device.h"
#include "core/dtype.h"
#include "core/error.h"
#include "core/json.h"
#include "core/shallow_json.h"
#include "core/terminal_text.h"
#include "pipeline/label.h"

namespace glmimage {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr int64_t kVersion = 1;
constexpr size_t kMostBytes = size_t{16} << 20, kMostAdapters = 64, kMostNameBytes = 1024;
constexpr int64_t kMostThreads = 4096;

ordered_json identity_json(const ModelIdentity& identity) { return {{"name", identity.name}, {"hash", identity.hash}}; }

// Names and hashes go to terminals and messages: they are held to a size and to hexadecimal digits.
std::string name_of(const JsonObject& object, const std::string& field) {
  const std::string name = object.text(field);
  if (name.size() > kMostNameBytes) object.reject(field, concat("is longer than ", kMostNameBytes, " bytes"));
  return name;
}

std::string hash_of(const JsonObject& object) {
  const std::string hash = object.text("hash");
  if (hash.size() != 64 || hash.find_first_not_of("0123456789abcdef") != std::string::npos) {
    object.reject("hash", "should be 64 hexadecimal digits");
  }
  return hash;
}

ModelIdentity identity_of(const JsonObject& object) { return {name_of(object, "name"), hash_of(object)}; }

uint64_t seed_of(const JsonObject& object) {
  if (!object.has("seed")) object.reject("seed", "is missing");
  const json& seed = object.value().at("seed");
  if (!seed.is_number_unsigned()) object.reject("seed", concat("should be an integer from 0 on, not ", seed.dump()));
  return seed.get<uint64_t>();
}

std::optional<double> maybe_number(const JsonObject& object, const std::string& field) {
  if (!object.has(field)) return std::nullopt;
  return object.number(field);
}

CachePolicy cache_of(const JsonObject& object) {
  CachePolicy cache{.method = parse_cache_method(object.text("method")),
                    .threshold = maybe_number(object, "threshold")};
  if (object.has("interval")) cache.interval = object.integer("interval");
  return cache;
}

// The objects of a list that may be missing.
std::vector<JsonObject> objects_of(const JsonObject& object, const std::string& field, size_t most) {
  std::vector<JsonObject> out;
  if (!object.has(field)) return out;
  const json& list = object.value().at(field);
  if (!list.is_array() || list.size() > most) object.reject(field, concat("should be a list of at most ", most));
  for (const json& each : list) {
    if (!each.is_object()) object.reject(field, "should be a list of objects");
    out.emplace_back(object.file(), field + "[].", each);
  }
  return out;
}

Recipe read(const JsonObject& in) {
  const int64_t version = in.integer("recipe");
  if (version != kVersion) in.reject("recipe", concat("is ", version, "; this program reads version ", kVersion));
  Recipe out;
  out.program = name_of(in, "program");
  out.model = identity_of(in.object("model"));
  out.prompt = in.text("prompt");
  out.seed = seed_of(in);
  out.width = in.integer("width");
  out.height = in.integer("height");
  out.steps = in.integer("steps");
  out.guidance_scale = in.number("guidance_scale");
  out.temperature = maybe_number(in, "temperature");
  out.top_p = maybe_number(in, "top_p");
  out.cache = cache_of(in.object("cache"));
  for (const JsonObject& each : objects_of(in, "loras", kMostAdapters)) {
    out.loras.push_back({identity_of(each), each.number("scale")});
  }
  for (const JsonObject& each : objects_of(in, "references", kMaxReferences)) {
    out.references.push_back({name_of(each, "name"), hash_of(each), each.positive("width"), each.positive("height")});
  }
  out.dtype = name_of(in, "dtype");
  parse_dtype(out.dtype);
  out.device = name_of(in, "device");
  parse_device(out.device);
  out.threads = in.integer("threads");
  if (out.threads < 0 || out.threads > kMostThreads) in.reject("threads", concat("should be 0 to ", kMostThreads));
  out.label = label_mode_name(parse_label_mode(in.text("label")));
  return out;
}

// What the command line would refuse, too.
void check(const Recipe& recipe) {
  GenerateRequest request = recipe.request();
  if (!recipe.references.empty()) request.references.push_back({1, 1, {0, 0, 0}});  // the prompt may be empty then
  validate(request);
  resolve_size(request, recipe.width, recipe.height);
}

}  // namespace

ordered_json Recipe::to_json() const {
  ordered_json out = {{"recipe", kVersion}, {"program", program}, {"model", identity_json(model)},
                      {"prompt", prompt},   {"seed", seed},       {"width", width},
                      {"height", height},   {"steps", steps},     {"guidance_scale", guidance_scale}};
  if (temperature) out["temperature"] = *temperature;
  if (top_p) out["top_p"] = *top_p;
  out["cache"] = cache.to_json();
  out["loras"] = ordered_json::array();
  for (const RecipeAdapter& each : loras) {
    ordered_json entry = identity_json(each.identity);
    entry["scale"] = each.scale;
    out["loras"].push_back(std::move(entry));
  }
  out["references"] = ordered_json::array();
  for (const RecipeReference& each : references) {
    out["references"].push_back(
        {{"name", each.name}, {"hash", each.hash}, {"width", each.width}, {"height", each.height}});
  }
  out["dtype"] = dtype;
  out["device"] = device;
  out["threads"] = threads;
  out["label"] = label;
  return out;
}

Recipe Recipe::from_json(const std::string& text, const std::string& name) {
  const std::string where = name + ": the recipe in it";
  if (text.size() > kMostBytes) fail(ErrorKind::usage, where, " has ", text.size(), " bytes, more than a recipe can");
  json value = parse_shallow_json(text);
  if (!value.is_object()) fail(ErrorKind::usage, where, " is no JSON object: a broken or forged file?");
  try {
    Recipe out = read(JsonObject("", "", std::move(value)));
    check(out);
    return out;
  } catch (const Error& error) {  // of a field: ": field 'seed' is missing"; of the request: "the width must be …"
    const std::string what = terminal_text(error.what());
    fail(ErrorKind::usage, where, what.starts_with(':') ? "" : ": ", what);
  }
}

GenerateRequest Recipe::request() const {
  GenerateRequest out;
  out.prompt = prompt;
  out.width = width;
  out.height = height;
  out.steps = steps;
  out.guidance_scale = guidance_scale;
  out.seed = seed;
  out.temperature = temperature;
  out.top_p = top_p;
  out.cache = cache;
  return out;
}

}  // namespace glmimage
