#include "cli/generate_plan.h"

#include <algorithm>
#include <filesystem>
#include <iostream>

#include "cli/prompt_file.h"
#include "core/encode_image.h"
#include "core/error.h"
#include "core/image.h"
#include "core/rng.h"
#include "pipeline/drawn_recipe.h"
#include "text/utf8.h"

namespace glmimage::cli {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> collect_prompts(const GenerateOptions& options, bool prompt_given) {
  const bool from_recipe = !options.from.empty() && options.prompt_file.empty();
  if (prompt_given || from_recipe) return {options.prompt};
  if (!options.prompt_file.empty() && options.prompt_file != "-") return read_prompt_file(options.prompt_file);
  std::vector<std::string> prompts = read_prompts(std::cin, "standard input");
  if (prompts.empty())
    fail(ErrorKind::usage, "no prompt: give --prompt, or lines in --prompt-file or on standard input");
  return prompts;
}

// Fails before the work rather than after it.
void check_folder_of(const fs::path& output) {
  const fs::path folder = output.has_parent_path() ? output.parent_path() : fs::path(".");
  if (!fs::is_directory(folder)) fail(ErrorKind::usage, folder.string(), ": the output folder does not exist");
  if (fs::is_directory(output)) fail(ErrorKind::usage, output.string(), ": is a folder; name a file");
}

RequestOutline outline_of(const GenerateRequest& request, const std::vector<std::string>& prompts) {
  RequestOutline out{.width = request.width, .height = request.height, .references = {}, .prompt_bytes = 0};
  for (const Image& picture : request.references) out.references.push_back({picture.height, picture.width});
  for (const std::string& prompt : prompts) {
    out.prompt_bytes = std::max(out.prompt_bytes, static_cast<int64_t>(prompt.size()));
  }
  out.guidance_scale = request.guidance_scale;
  return out;
}

// What a launcher says counts for lists alone: a single picture is drawn by whoever is told to.
std::optional<Share> share_of(const GenerateOptions& options) {
  if (!options.share.empty()) return parse_share(options.share);
  if (options.prompt_file.empty() && options.manifest.empty()) return std::nullopt;
  std::optional<Share> share = share_from_environment();
  if (share && options.prompt_file == "-") {
    fail(ErrorKind::usage, "standard input cannot be divided among the processes of ", share->source,
         "; name a file with --prompt-file, or say --share");
  }
  return share;
}

void check_list_options(const GenerateOptions& options, const std::optional<Share>& share, size_t pictures) {
  if (!options.manifest.empty()) check_folder_of(options.manifest);
  const bool divided = share && share->count > 1;
  if (!options.seed && (divided || !options.manifest.empty())) {
    fail(ErrorKind::usage,
         "--seed is missing: every process of a list, and every call that goes on with it, must draw "
         "with the same");
  }
  if (!options.trace.empty()) check_folder_of(options.trace);
  if (!options.trace.empty() && pictures != 1) {
    fail(ErrorKind::usage, "--trace records one picture; it does not go with --count or several prompts");
  }
}

// a.png for a single picture, else a-1.png, a-2.png, …; a list with a manifest may grow.
std::vector<WantedPicture> list_pictures(const GenerateOptions& options, const std::vector<std::string>& prompts) {
  const uint64_t first_seed = options.seed ? *options.seed : random_seed() >> 31;  // short enough to retype
  const bool single = prompts.size() == 1 && options.count == 1 && options.manifest.empty();
  std::vector<WantedPicture> out;
  for (const std::string& prompt : prompts) {
    for (int64_t k = 0; k < options.count; ++k) {
      const int64_t number = static_cast<int64_t>(out.size()) + 1;
      out.push_back({.number = number,
                     .prompt = prompt,
                     .seed = first_seed + static_cast<uint64_t>(k),
                     .file = single ? fs::path(options.output) : numbered(options.output, number)});
    }
  }
  return out;
}

}  // namespace

GeneratePlan make_plan(const GenerateOptions& options, bool prompt_given) {
  const std::optional<Share> share = share_of(options);
  DrawOptions draw = options.draw;
  if (share) draw.device = device_of_rank(draw.device, launch_from_environment());
  GeneratePlan plan{.pipeline = prepare(draw), .request = request_of(draw), .file = {}, .pictures = {}, .share = share};
  plan.request.width = options.width;
  plan.request.height = options.height;
  for (const std::string& file : options.images) plan.request.references.push_back(load_image(file));
  const std::vector<std::string> prompts = collect_prompts(options, prompt_given);
  for (const std::string& prompt : prompts) {
    require_utf8(prompt, "the prompt");
    plan.request.prompt = prompt;
    validate(plan.request);
  }
  plan.pipeline.largest = outline_of(plan.request, prompts);
  check_folder_of(options.output);
  plan.file = file_options_of(options);
  std::vector<WantedPicture> pictures = list_pictures(options, prompts);
  check_list_options(options, share, pictures.size());
  plan.listed = static_cast<int64_t>(pictures.size());
  plan.pictures = share ? take_share(std::move(pictures), *share) : std::move(pictures);
  return plan;
}

nlohmann::ordered_json settings_of(const GenerateOptions& options, const GeneratePlan& plan, const Recipe& run) {
  using json = nlohmann::ordered_json;
  const GenerateRequest& request = plan.request;
  json loras = json::array(), references = json::array();
  for (const RecipeAdapter& each : run.loras) loras.push_back({{"hash", each.identity.hash}, {"scale", each.scale}});
  for (const RecipeReference& each : references_of(request)) references.push_back(each.hash);
  const auto or_null = [](const auto& value) { return value ? json(*value) : json(); };
  return {{"model_hash", run.model.hash},
          {"loras", loras},
          {"references", references},
          {"width", or_null(request.width)},
          {"height", or_null(request.height)},
          {"steps", request.steps},
          {"guidance_scale", request.guidance_scale},
          {"temperature", or_null(request.temperature)},
          {"top_p", or_null(request.top_p)},
          {"cache", json::parse(request.cache.to_json().dump())},
          {"dtype", options.draw.dtype},
          {"format", picture_format_name(plan.file.format)},
          {"quality", plan.file.quality},
          {"label", label_mode_name(plan.file.label.mode)},
          {"recipe", plan.file.with_recipe}};
}

std::vector<std::string> names_of(const std::vector<std::string>& files) {
  std::vector<std::string> names;
  for (const std::string& file : files) names.push_back(fs::path(file).filename().string());
  return names;
}

}  // namespace glmimage::cli
