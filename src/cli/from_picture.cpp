#include "cli/from_picture.h"

#include <algorithm>
#include <thread>
#include <type_traits>

#include "core/error.h"
#include "core/picture_metadata.h"
#include "core/terminal_text.h"

namespace glmimage::cli {
namespace {

std::string told(const ModelIdentity& identity) {
  return concat(terminal_text(identity.name), " (", identity.hash.substr(0, 12), ")");
}

std::string told(const RecipeReference& reference) {
  const std::string name = reference.name.empty() ? "a picture" : terminal_text(reference.name);
  return concat(name, " (", reference.width, " x ", reference.height, ", ", reference.hash.substr(0, 12), ")");
}

std::string told(const RecipeAdapter& adapter) { return told(adapter.identity); }

template <typename Item>
std::string told(const std::vector<Item>& items) {
  std::string out;
  for (const Item& each : items) out += (out.empty() ? "" : ", ") + told(each);
  return out.empty() ? "none" : out;
}

template <typename Item>
std::vector<std::string> hashes_of(const std::vector<Item>& items) {
  std::vector<std::string> out;
  for (const Item& each : items) {
    if constexpr (std::is_same_v<Item, RecipeAdapter>) {
      out.push_back(each.identity.hash);
    } else {
      out.push_back(each.hash);
    }
  }
  return out;
}

// "style.safetensors" -> "style.safetensors:0.8", where no scale was said.
void add_scales(const Recipe& recipe, std::vector<std::string>& loras) {
  for (size_t i = 0; i < std::min(loras.size(), recipe.loras.size()); ++i) {
    if (std::filesystem::exists(loras[i])) loras[i] += ":" + nlohmann::json(recipe.loras[i].scale).dump();
  }
}

void fill_cache(const CachePolicy& cache, const CLI::App& command, DrawOptions& draw) {
  if (command.count("--cache") > 0) return;  // another method reads other numbers
  draw.cache = cache_method_name(cache.method);
  if (command.count("--cache-threshold") == 0) draw.cache_threshold = cache.threshold;
  if (command.count("--cache-interval") == 0) draw.cache_interval = cache.interval;
}

}  // namespace

Recipe load_recipe(const std::filesystem::path& picture) {
  const std::string name = picture.native();
  const FoundMetadata found = read_metadata(read_picture_file(picture), name);
  if (!found.metadata.recipe.empty()) return Recipe::from_json(found.metadata.recipe, name);
  const std::string fault = found.faults.empty() ? "" : "; " + terminal_text(found.faults.front());
  fail(ErrorKind::usage, name, ": holds no recipe of this program", fault);
}

void fill_from(const Recipe& recipe, const CLI::App& command, GenerateOptions& options) {
  const auto fill = [&](const char* option, auto& field, const auto& value) {
    if (command.count(option) == 0) field = value;
  };
  if (command.count("--prompt-file") == 0) fill("--prompt", options.prompt, recipe.prompt);
  fill("--width", options.width, recipe.width);
  fill("--height", options.height, recipe.height);
  fill("--seed", options.seed, recipe.seed);
  fill("--label", options.label, recipe.label);
  DrawOptions& draw = options.draw;
  fill("--steps", draw.steps, recipe.steps);
  fill("--guidance", draw.guidance, recipe.guidance_scale);
  fill("--temperature", draw.temperature, recipe.temperature);
  fill("--top-p", draw.top_p, recipe.top_p);
  fill("--dtype", draw.dtype, recipe.dtype);
  fill("--device", draw.device, recipe.device);
  // A number of threads out of a file must not bring the machine to its knees.
  if (recipe.threads <= std::thread::hardware_concurrency())
    fill("--threads", draw.threads, static_cast<int>(recipe.threads));
  fill_cache(recipe.cache, command, draw);
  add_scales(recipe, draw.loras);
}

std::vector<std::string> differences(const Recipe& recipe, const Recipe& drawn) {
  std::vector<std::string> out;
  if (recipe.model.hash != drawn.model.hash) {
    out.push_back(concat("the weights are those of ", told(recipe.model), ", not of ", told(drawn.model),
                         ": name their folder with --model"));
  }
  if (hashes_of(recipe.loras) != hashes_of(drawn.loras)) {
    out.push_back(concat("the adapters are ", told(recipe.loras), ", not ", told(drawn.loras),
                         ": name each with --lora, in this order"));
  }
  if (hashes_of(recipe.references) != hashes_of(drawn.references)) {
    out.push_back(concat("the reference pictures are ", told(recipe.references), ", not ", told(drawn.references),
                         ": name each with --image, in this order"));
  }
  return out;
}

std::vector<std::string> doubts(const Recipe& recipe, const Recipe& drawn) {
  std::vector<std::string> out;
  if (recipe.program != drawn.program) {
    out.push_back(concat("it was drawn by ", terminal_text(recipe.program), ", this is ", drawn.program));
  }
  if (recipe.threads != 0 && recipe.threads != drawn.threads) {
    out.push_back(
        concat("it was drawn with ", recipe.threads, " threads, not ", drawn.threads, ": sums are rounded otherwise"));
  }
  return out;
}

}  // namespace glmimage::cli
