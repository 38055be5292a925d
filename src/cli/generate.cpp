#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/draw_options.h"
#include "cli/interrupt.h"
#include "cli/prompt_file.h"
#include "cli/terminal_progress.h"
#include "core/dtype.h"
#include "core/encode_image.h"
#include "core/error.h"
#include "core/image.h"
#include "core/memory.h"
#include "core/rng.h"
#include "core/safetensors.h"
#include "core/threads.h"
#include "core/version.h"
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
  glm-image generate --prompt-file prompts.txt --output out/picture.png --json

Text to be drawn goes in quotation marks inside the prompt. --temperature 0 is greedy.)";

struct GenerateOptions {
  DrawOptions draw;
  std::string prompt, prompt_file;
  std::vector<std::string> images;
  std::optional<int64_t> width, height;
  int64_t count = 1;
  std::optional<uint64_t> seed;
  std::string output = "picture.png", trace;
};

std::vector<std::string> collect_prompts(const GenerateOptions& options, bool prompt_given) {
  if (prompt_given) return {options.prompt};
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

// Both fail before the work rather than after it.
void check_folder_of(const fs::path& output) {
  const fs::path folder = output.has_parent_path() ? output.parent_path() : fs::path(".");
  if (!fs::is_directory(folder)) fail(ErrorKind::usage, folder.string(), ": the output folder does not exist");
  if (fs::is_directory(output)) fail(ErrorKind::usage, output.string(), ": is a folder; name a file");
}

void check_output(const fs::path& output) {
  check_folder_of(output);
  const std::string extension = output.extension().string();
  if (extension != ".png" && extension != ".PNG") {
    fail(ErrorKind::usage, output.string(), ": pictures are written as PNG; end the name in .png");
  }
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

json describe(const fs::path& file, const GenerateRequest& request, const GenerateResult& result) {
  return {{"path", file.string()},
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

RequestOutline outline_of(const GenerateRequest& request, const std::vector<std::string>& prompts) {
  RequestOutline out{.width = request.width, .height = request.height, .references = {}, .prompt_bytes = 0};
  for (const Image& picture : request.references) out.references.push_back({picture.height, picture.width});
  for (const std::string& prompt : prompts) {
    out.prompt_bytes = std::max(out.prompt_bytes, static_cast<int64_t>(prompt.size()));
  }
  out.guidance_scale = request.guidance_scale;
  return out;
}

int generate(const GenerateOptions& options, bool prompt_given) {
  watch_interrupts(Patience::brief);
  const bool quiet = options.draw.quiet;
  PipelineOptions pipeline_options = prepare(options.draw);
  GenerateRequest request = request_of(options.draw);
  request.width = options.width;
  request.height = options.height;
  for (const std::string& file : options.images) request.references.push_back(load_image(file));
  const std::vector<std::string> prompts = collect_prompts(options, prompt_given);
  for (const std::string& prompt : prompts) {
    request.prompt = prompt;
    validate(request);
  }
  pipeline_options.largest = outline_of(request, prompts);
  const fs::path output = options.output;
  check_output(output);
  if (!options.trace.empty()) check_folder_of(options.trace);
  if (!options.trace.empty() && prompts.size() * static_cast<size_t>(options.count) != 1) {
    fail(ErrorKind::usage, "--trace records one picture; it does not go with --count or several prompts");
  }
  const uint64_t first_seed = options.seed ? *options.seed : random_seed() >> 31;  // short enough to retype

  TerminalProgress progress(quiet ? TerminalProgress::Style::silent : TerminalProgress::style_of_stderr());
  const Pipeline pipeline = Pipeline::open(pipeline_options, &progress);
  progress.finish_line();
  if (!quiet) warn_of_unmatched(pipeline.loras());
  json pictures = json::array();
  const int64_t total = static_cast<int64_t>(prompts.size()) * options.count;
  for (const std::string& prompt : prompts) {
    for (int64_t k = 0; k < options.count; ++k) {
      request.prompt = prompt;
      request.seed = first_seed + static_cast<uint64_t>(k);
      NamedTensors trace;
      const GenerateResult result = pipeline.generate(
          request, {.progress = &progress, .trace = options.trace.empty() ? nullptr : &trace, .preview = {}});
      progress.finish_line();
      const fs::path file = output_name(output, static_cast<int64_t>(pictures.size()) + 1, total);
      guard_partial_file(file.string() + ".part");
      save_image(file, result.image);
      if (!options.trace.empty()) {
        guard_partial_file(options.trace + ".part");
        write_safetensors(options.trace, trace, {{"format", "pt"}});
      }
      guard_partial_file({});
      pictures.push_back(describe(file, request, result));
      if (!options.draw.json && !quiet) {
        std::printf("%s (%lld x %lld, seed %llu%s)\n", file.c_str(), static_cast<long long>(result.image.width),
                    static_cast<long long>(result.image.height), static_cast<unsigned long long>(result.seed),
                    tell_reuse(result.transformer).c_str());
        std::fflush(stdout);
      }
    }
  }
  if (options.draw.json) {
    const json summary = {{"pictures", pictures},
                          {"model", options.draw.model},
                          {"loras", describe(pipeline.loras())},
                          {"device", options.draw.device},
                          {"dtype", dtype_name(pipeline.dtype())},
                          {"threads", thread_count()},
                          {"version", version_text()},
                          {"memory",
                           {{"weight_bytes", pipeline.weight_bytes()},
                            {"peak_bytes", peak_resident_bytes()},
                            {"resident", pipeline.memory().resident},
                            {"predicted_bytes", pipeline.memory().peak_bytes}}}};
    std::printf("%s\n", summary.dump(2, ' ', false, json::error_handler_t::replace).c_str());
  }
  return 0;
}

}  // namespace

void add_generate(CLI::App& app, Command& run) {
  auto options = std::make_shared<GenerateOptions>();
  CLI::App* command = app.add_subcommand("generate", "Draw pictures from words, or from pictures and words");
  command->footer(kFooter);
  CLI::Option* prompt = command->add_option("-p,--prompt", options->prompt, "What to draw");
  command->add_option("--prompt-file", options->prompt_file, "Prompts, one a line; - is standard input")
      ->excludes(prompt);
  command->add_option("-i,--image", options->images,
                      "A reference picture (PNG, JPEG, WebP); may be given several times");
  command->add_option("--width", options->width, "Pixels; default: the model's own size");
  command->add_option("--height", options->height, "Pixels; default: the model's own size");
  command->add_option("--seed", options->seed, "Seed; default: a random one, which is printed");
  command->add_option("--count", options->count, "Pictures a prompt, with seeds S, S+1, …")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{1}, int64_t{100000}));
  command->add_option("-o,--output", options->output, "PNG file to write")->capture_default_str();
  command->add_option("--trace", options->trace, "Write every stage's tensors to this safetensors file");
  add_draw_options(*command, options->draw);
  command->callback(
      [options, prompt, &run] { run = [options, given = prompt->count() > 0] { return generate(*options, given); }; });
}

}  // namespace glmimage::cli
