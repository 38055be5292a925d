#include <algorithm>

#include "core/error.h"
#include "pipeline/recipe.h"

namespace glmimage {
namespace {

// A value among others: in quotes where it would be taken for several. Source: stable-diffusion-webui,
// modules/infotext_utils.py (quote).
std::string quote(const std::string& value) {
  if (value.find_first_of(",:\n\r\"") == std::string::npos) return value;
  return nlohmann::json(value).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

// The shortest text that reads back as the number.
std::string number(double value) { return nlohmann::json(value).dump(); }

std::string short_hash(const ModelIdentity& identity, size_t digits) { return identity.hash.substr(0, digits); }

}  // namespace

std::string Recipe::parameters() const {
  std::string out = prompt;
  out +=
      concat("\nSteps: ", steps, ", Sampler: Euler, CFG scale: ", number(guidance_scale), ", Seed: ", seed,
             ", Size: ", width, "x", height, ", Model hash: ", short_hash(model, 10), ", Model: ", quote(model.name));
  if (temperature) out += ", Temperature: " + number(*temperature);
  if (top_p) out += ", Top p: " + number(*top_p);
  if (cache.method != CacheMethod::none) out += concat(", Step cache: ", cache_method_name(cache.method));
  std::string hashes;
  for (const RecipeAdapter& each : loras) {
    std::string name = each.identity.name;
    std::replace_if(
        name.begin(), name.end(), [](char c) { return c == ',' || c == ':' || c == '"'; }, '_');
    hashes += concat(hashes.empty() ? "" : ", ", name, ": ", short_hash(each.identity, 12));
  }
  if (!hashes.empty()) out += ", Lora hashes: " + quote(hashes);
  if (!references.empty()) out += concat(", Reference pictures: ", references.size());
  return out + ", Version: " + quote(program);
}

}  // namespace glmimage
