#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/from_picture.h"
#include "cli/generate_plan.h"
#include "cli/interrupt.h"
#include "cli/manifest.h"
#include "cli/picture_list.h"
#include "cli/terminal_progress.h"
#include "core/dtype.h"
#include "core/error.h"
#include "core/memory.h"
#include "core/part_file.h"
#include "core/safetensors.h"
#include "core/sha256.h"
#include "core/visible_mark.h"
#include "pipeline/drawn_recipe.h"
#include "pipeline/picture_file.h"
#include "pipeline/pipeline.h"

namespace glmimage::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kFooter = R"(Examples:
  glm-image generate --prompt 'a red apple on a green background' --seed 7 --output apple.png
  glm-image generate --prompt 'a sign with the text "OPEN"' --model ~/GLM-Image --width 1024 --height 1024
  glm-image generate --prompt 'make it night' --image street.png --count 4 --output night.png
  glm-image generate --prompt 'a fox' --lora style.safetensors:0.8 --output fox.png
  glm-image generate --from fox.png --seed 8 --output fox8.webp
  glm-image generate --prompt-file prompts.txt --output out/picture.png --json
  srun glm-image generate --prompt-file prompts.txt --seed 1 --manifest out/manifest.jsonl --output out/picture.png

Text to be drawn goes in quotation marks inside the prompt. --temperature 0 is greedy.)";

json describe(const std::vector<LoraUse>& uses) {
  json out = json::array();
  for (const LoraUse& use : uses) {
    out.push_back({{"path", use.choice.file.string()},
                   {"scale", use.choice.scale},
                   {"matrices", use.matrices},
                   {"unmatched", use.unmatched}});
  }
  return out;
}

json describe(const fs::path& file, const GenerateRequest& request, const GenerateResult& result,
              const PictureFileOptions& options) {
  return {{"path", file.string()},
          {"format", picture_format_name(options.format)},
          {"label", label_mode_name(options.label.mode)},
          {"prompt", request.prompt},
          {"seed", result.seed},
          {"width", result.image.width},
          {"height", result.image.height},
          {"steps", request.steps},
          {"guidance_scale", request.guidance_scale},
          {"cache", request.cache.to_json()},
          {"passes", result.transformer.passes},
          {"reused_passes", result.transformer.reused},
          {"visual_tokens", result.visual_tokens},
          {"seconds", result.seconds}};
}

// ", 28 of 40 passes reused", or nothing.
std::string tell_reuse(const PassCount& count) {
  return count.reused == 0 ? "" : concat(", ", count.reused, " of ", count.passes, " passes reused");
}

void tell(const fs::path& file, const GenerateResult& result) {
  std::printf("%s (%lld x %lld, seed %llu%s)\n", file.c_str(), static_cast<long long>(result.image.width),
              static_cast<long long>(result.image.height), static_cast<unsigned long long>(result.seed),
              tell_reuse(result.transformer).c_str());
  std::fflush(stdout);
}

void warn(const std::string& text) { std::fprintf(stderr, "glm-image: warning: %s\n", text.c_str()); }

// Before weights are loaded: what is to be drawn again must be drawn with the same.
void hold_to_recipe(const GenerateOptions& options, const Recipe& wanted, Recipe drawn,
                    const GenerateRequest& request) {
  drawn.references = references_of(request, names_of(options.images));
  const std::vector<std::string> found = differences(wanted, drawn);
  if (!found.empty() && !options.allow_differences) {
    fail(ErrorKind::usage, options.from, ": cannot be drawn again like this: ", found.front(),
         " (--allow-differences draws nevertheless)");
  }
  if (options.draw.quiet) return;
  for (const std::string& each : found) warn(concat(options.from, ": ", each));
  for (const std::string& each : doubts(wanted, drawn)) warn(concat(options.from, ": ", each));
}

void write_picture(const fs::path& file, const std::vector<uint8_t>& bytes) {
  guard_partial_file(file.string() + ".part");
  PartFile part(file);
  part.write(bytes.data(), bytes.size());
  part.commit();
  guard_partial_file({});
}

// One call's state once weights are loaded.
struct Run {
  const GenerateOptions& options;
  const PictureFileOptions& file;
  const Pipeline& pipeline;
  const Recipe recipe;
  TerminalProgress& progress;
};

struct DrawnPicture {
  json description;
  ManifestEntry entry;  // what the manifest says of it besides its place in the list
};

// Draws one picture into its file and says what became of it.
DrawnPicture draw_picture(const Run& run, GenerateRequest request, const WantedPicture& wanted) {
  request.prompt = wanted.prompt;
  request.seed = wanted.seed;
  const auto began = std::chrono::steady_clock::now();
  const std::string& trace_file = run.options.trace;
  NamedTensors trace;
  const GenerateResult result = run.pipeline.generate(
      request, {.progress = &run.progress, .trace = trace_file.empty() ? nullptr : &trace, .preview = {}});
  run.progress.finish_line();
  const Recipe recipe =
      recipe_of_picture(run.recipe, request, result.image, run.pipeline.dtype(), names_of(run.options.images));
  const std::vector<uint8_t> bytes = picture_file(result.image, recipe, run.file);
  write_picture(wanted.file, bytes);
  if (!trace_file.empty()) {
    guard_partial_file(trace_file + ".part");
    write_safetensors(trace_file, trace, {{"format", "pt"}});
    guard_partial_file({});
  }
  if (!run.options.draw.json && !run.options.draw.quiet) tell(wanted.file, result);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - began;
  return {describe(wanted.file, request, result, run.file),
          {.bytes = static_cast<int64_t>(bytes.size()),
           .sha256 = sha256_hex(bytes),
           .width = result.image.width,
           .height = result.image.height,
           .seconds = std::round(seconds.count() * 1000) / 1000}};
}

json summary_of(const Run& run, json pictures) {
  const Pipeline& pipeline = run.pipeline;
  return {{"pictures", std::move(pictures)},
          {"model", run.options.draw.model},
          {"model_hash", run.recipe.model.hash},
          {"loras", describe(pipeline.loras())},
          {"device", run.options.draw.device},
          {"dtype", dtype_name(pipeline.dtype())},
          {"threads", run.recipe.threads},
          {"version", run.recipe.program},
          {"memory",
           {{"weight_bytes", pipeline.weight_bytes()},
            {"peak_bytes", peak_resident_bytes()},
            {"resident", pipeline.memory().resident},
            {"predicted_bytes", pipeline.memory().peak_bytes}}}};
}

// What the shares and the manifest of a list add to the summary.
void describe_list(const GeneratePlan& plan, const Manifest* manifest, const RemainingPictures* remaining,
                   json& summary) {
  if (plan.share) {
    summary["share"] = {{"index", plan.share->index + 1}, {"count", plan.share->count}, {"source", plan.share->source}};
  }
  if (!manifest) return;
  summary["manifest"] = {{"file", manifest->file().string()},
                         {"already_drawn", remaining->found()},
                         {"drawn_elsewhere", remaining->elsewhere()},
                         {"unfinished_lines", manifest->unfinished_lines()}};
}

void tell_share(const GeneratePlan& plan, const Manifest* manifest, const RemainingPictures* remaining) {
  if (plan.share) {
    std::fprintf(stderr, "glm-image: share %lld of %lld (%s): %zu of %lld pictures\n",
                 static_cast<long long>(plan.share->index + 1), static_cast<long long>(plan.share->count),
                 plan.share->source.c_str(), plan.pictures.size(), static_cast<long long>(plan.listed));
  }
  if (!manifest) return;
  if (remaining->found() > 0) {
    std::fprintf(stderr, "glm-image: %s: %lld of them are drawn already\n", manifest->file().c_str(),
                 static_cast<long long>(remaining->found()));
  }
  if (manifest->unfinished_lines() > 0) {
    warn(concat(manifest->file().native(), ": passed over ", manifest->unfinished_lines(),
                " unfinished lines, of processes that were killed"));
  }
  if (!manifest->has_locks()) {
    warn(concat(manifest->file().native(), ": the file system has no locks: processes with the same share draw twice"));
  }
}

// All pictures of the plan, or those that the manifest lacks.
json draw_all(const Run& run, const GeneratePlan& plan, RemainingPictures* remaining) {
  json pictures = json::array();
  if (!remaining) {
    for (const WantedPicture& wanted : plan.pictures) {
      pictures.push_back(draw_picture(run, plan.request, wanted).description);
    }
    return pictures;
  }
  while (const std::optional<WantedPicture> wanted = remaining->next()) {
    DrawnPicture drawn = draw_picture(run, plan.request, *wanted);
    remaining->finish(*wanted, std::move(drawn.entry));
    pictures.push_back(std::move(drawn.description));
  }
  return pictures;
}

void print(const json& summary) {
  std::printf("%s\n", summary.dump(2, ' ', false, json::error_handler_t::replace).c_str());
}

int generate(GenerateOptions options, const CLI::App& command) {
  watch_interrupts(Patience::brief);
  std::optional<Recipe> wanted;
  if (!options.from.empty()) {
    wanted = load_recipe(options.from);
    fill_from(*wanted, command, options);
  }
  const GeneratePlan plan = make_plan(options, command.count("--prompt") > 0);
  const Recipe recipe = recipe_of_run(plan.pipeline);
  if (wanted) hold_to_recipe(options, *wanted, recipe, plan.request);
  std::optional<Manifest> manifest;
  std::optional<RemainingPictures> remaining;
  if (!options.manifest.empty()) {
    manifest.emplace(options.manifest, settings_of(options, plan, recipe));
    remaining.emplace(*manifest, plan.pictures);
  }
  const Manifest* list = manifest ? &*manifest : nullptr;
  RemainingPictures* rest = remaining ? &*remaining : nullptr;
  if (!options.draw.quiet) tell_share(plan, list, rest);
  if (rest ? rest->empty() : plan.pictures.empty()) {  // no weights are loaded for nothing
    json summary = {{"pictures", json::array()}};
    describe_list(plan, list, rest, summary);
    if (options.draw.json) print(summary);
    return 0;
  }

  TerminalProgress progress(options.draw.quiet ? TerminalProgress::Style::silent : TerminalProgress::style_of_stderr());
  const Pipeline pipeline = Pipeline::open(plan.pipeline, &progress);
  progress.finish_line();
  if (!options.draw.quiet) warn_of_unmatched(pipeline.loras());
  if (plan.file.label.mode == LabelMode::visible) {
    require_room_for_mark(plan.request.width.value_or(pipeline.default_size()),
                          plan.request.height.value_or(pipeline.default_size()));
  }
  const Run run{options, plan.file, pipeline, recipe, progress};
  json summary = summary_of(run, draw_all(run, plan, rest));
  describe_list(plan, list, rest, summary);
  if (rest && rest->elsewhere() > 0 && !options.draw.quiet) {
    warn(concat(rest->elsewhere(), " pictures of this share are being drawn by other processes"));
  }
  if (options.draw.json) print(summary);
  return 0;
}

}  // namespace

void add_generate(CLI::App& app, Command& run) {
  auto options = std::make_shared<GenerateOptions>();
  CLI::App* command = app.add_subcommand("generate", "Draw pictures from words, or from pictures and words");
  command->footer(kFooter);
  add_generate_options(*command, *options);
  command->callback([options, command, &run] { run = [options, command] { return generate(*options, *command); }; });
}

}  // namespace glmimage::cli
