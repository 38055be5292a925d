#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/from_picture.h"
#include "cli/generate_options.h"
#include "cli/interrupt.h"
#include "cli/prompt_file.h"
#include "cli/terminal_progress.h"
#include "core/dtype.h"
#include "core/error.h"
#include "core/image.h"
#include "core/memory.h"
#include "core/part_file.h"
#include "core/rng.h"
#include "core/safetensors.h"
#include "core/threads.h"
#include "core/version.h"
#include "core/visible_mark.h"
#include "pipeline/drawn_recipe.h"
#include "pipeline/picture_file.h"
#include "pipeline/pipeline.h"
#include "text/utf8.h"

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

Text to be drawn goes in quotation marks inside the prompt. --temperature 0 is greedy.)";

std::vector<std::string> collect_prompts(const GenerateOptions& options, bool prompt_given) {
  const bool from_recipe = !options.from.empty() && options.prompt_file.empty();
  if (prompt_given || from_recipe) return {options.prompt};
  if (!options.prompt_file.empty() && options.prompt_file != "-") return read_prompt_file(options.prompt_file);
  std::vector<std::string> prompts = read_prompts(std::cin, "standard input");
  if (prompts.empty())
    fail(ErrorKind::usage, "no prompt: give --prompt, or lines in --prompt-file or on standard input");
  return prompts;
}

// a.png for a single picture, else a-1.png, a-2.png, …
fs::path output_name(const fs::path& output, int64_t number, int64_t total) {
  if (total == 1) return output;
  fs::path name = output;
  name.replace_filename(concat(output.stem().string(), "-", number, output.extension().string()));
  return name;
}

// Fails before the work rather than after it.
void check_folder_of(const fs::path& output) {
  const fs::path folder = output.has_parent_path() ? output.parent_path() : fs::path(".");
  if (!fs::is_directory(folder)) fail(ErrorKind::usage, folder.string(), ": the output folder does not exist");
  if (fs::is_directory(output)) fail(ErrorKind::usage, output.string(), ": is a folder; name a file");
}

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

RequestOutline outline_of(const GenerateRequest& request, const std::vector<std::string>& prompts) {
  RequestOutline out{.width = request.width, .height = request.height, .references = {}, .prompt_bytes = 0};
  for (const Image& picture : request.references) out.references.push_back({picture.height, picture.width});
  for (const std::string& prompt : prompts) {
    out.prompt_bytes = std::max(out.prompt_bytes, static_cast<int64_t>(prompt.size()));
  }
  out.guidance_scale = request.guidance_scale;
  return out;
}

// Of files, without their folders.
std::vector<std::string> names_of(const std::vector<std::string>& files) {
  std::vector<std::string> names;
  for (const std::string& file : files) names.push_back(fs::path(file).filename().string());
  return names;
}

void warn(const std::string& text) { std::fprintf(stderr, "glm-image: warning: %s\n", text.c_str()); }

// Before weights are loaded: what is to be drawn again must be drawn with the same.
void hold_to_recipe(const GenerateOptions& options, const Recipe& wanted, const PipelineOptions& pipeline,
                    const GenerateRequest& request) {
  Recipe drawn = recipe_of_run(pipeline);
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

// What is known before weights are loaded.
struct Plan {
  PipelineOptions pipeline;
  GenerateRequest request;  // without prompt and seed
  std::vector<std::string> prompts;
  PictureFileOptions file;
  uint64_t first_seed = 0;
};

Plan make_plan(const GenerateOptions& options, bool prompt_given) {
  Plan plan{.pipeline = prepare(options.draw), .request = request_of(options.draw), .prompts = {}, .file = {}};
  plan.request.width = options.width;
  plan.request.height = options.height;
  for (const std::string& file : options.images) plan.request.references.push_back(load_image(file));
  plan.prompts = collect_prompts(options, prompt_given);
  for (const std::string& prompt : plan.prompts) {
    require_utf8(prompt, "the prompt");
    plan.request.prompt = prompt;
    validate(plan.request);
  }
  plan.pipeline.largest = outline_of(plan.request, plan.prompts);
  check_folder_of(options.output);
  plan.file = file_options_of(options);
  if (!options.trace.empty()) check_folder_of(options.trace);
  if (!options.trace.empty() && plan.prompts.size() * static_cast<size_t>(options.count) != 1) {
    fail(ErrorKind::usage, "--trace records one picture; it does not go with --count or several prompts");
  }
  plan.first_seed = options.seed ? *options.seed : random_seed() >> 31;  // short enough to retype
  return plan;
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

// Draws one picture into its file and says what became of it.
json draw_picture(const Run& run, const GenerateRequest& request, const fs::path& file) {
  const std::string& trace_file = run.options.trace;
  NamedTensors trace;
  const GenerateResult result = run.pipeline.generate(
      request, {.progress = &run.progress, .trace = trace_file.empty() ? nullptr : &trace, .preview = {}});
  run.progress.finish_line();
  const Recipe recipe =
      recipe_of_picture(run.recipe, request, result.image, run.pipeline.dtype(), names_of(run.options.images));
  write_picture(file, picture_file(result.image, recipe, run.file));
  if (!trace_file.empty()) {
    guard_partial_file(trace_file + ".part");
    write_safetensors(trace_file, trace, {{"format", "pt"}});
    guard_partial_file({});
  }
  if (!run.options.draw.json && !run.options.draw.quiet) tell(file, result);
  return describe(file, request, result, run.file);
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

int generate(GenerateOptions options, const CLI::App& command) {
  watch_interrupts(Patience::brief);
  std::optional<Recipe> wanted;
  if (!options.from.empty()) {
    wanted = load_recipe(options.from);
    fill_from(*wanted, command, options);
  }
  Plan plan = make_plan(options, command.count("--prompt") > 0);
  GenerateRequest& request = plan.request;
  if (wanted) hold_to_recipe(options, *wanted, plan.pipeline, request);

  TerminalProgress progress(options.draw.quiet ? TerminalProgress::Style::silent : TerminalProgress::style_of_stderr());
  const Pipeline pipeline = Pipeline::open(plan.pipeline, &progress);
  progress.finish_line();
  if (!options.draw.quiet) warn_of_unmatched(pipeline.loras());
  if (plan.file.label.mode == LabelMode::visible) {
    require_room_for_mark(request.width.value_or(pipeline.default_size()),
                          request.height.value_or(pipeline.default_size()));
  }
  const Run run{options, plan.file, pipeline, recipe_of_run(plan.pipeline), progress};
  json pictures = json::array();
  const int64_t total = static_cast<int64_t>(plan.prompts.size()) * options.count;
  for (const std::string& prompt : plan.prompts) {
    for (int64_t k = 0; k < options.count; ++k) {
      request.prompt = prompt;
      request.seed = plan.first_seed + static_cast<uint64_t>(k);
      const int64_t number = static_cast<int64_t>(pictures.size()) + 1;
      pictures.push_back(draw_picture(run, request, output_name(options.output, number, total)));
    }
  }
  if (options.draw.json) {
    const json summary = summary_of(run, std::move(pictures));
    std::printf("%s\n", summary.dump(2, ' ', false, json::error_handler_t::replace).c_str());
  }
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
