#include <cstdio>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/draw_options.h"
#include "cli/interrupt.h"
#include "cli/prompt_file.h"
#include "cli/terminal_progress.h"
#include "core/error.h"
#include "core/json.h"
#include "eval/comparison.h"
#include "hub/pulled.h"
#include "pipeline/calibrate.h"
#include "pipeline/pipeline.h"
#include "pipeline/quantise.h"
#include "pipeline/request.h"

namespace glmimage::cli {
namespace {

constexpr const char* kFooter = R"(Examples:
  glm-image quantize ~/GLM-Image ~/GLM-Image-int8 --ar int8 --dit int8
  glm-image quantize ~/GLM-Image ~/GLM-Image-int4 --ar int4 --dit w8a8 --pattern 'lm_head*=int8'
  glm-image quantize checkpoints/mini small --ar int4 --pattern '*.mlp.*=int8'
  glm-image quantize checkpoints/mini small --dit int4 --calibrate prompts.txt --check-scenes 60

The result is a checkpoint like any other, which every command reads; 'quantisation.json' in it has the error of every
matrix, and what --check or --check-scenes found.)";

struct Options {
  QuantiseOptions work;
  std::vector<std::string> patterns;
  std::string calibrate, check;  // files of prompts
  int64_t calibrate_steps = 20, check_steps = 20, check_scenes = 0;
  DrawOptions draw;  // dtype, device, threads, json, quiet

  bool checks() const { return !check.empty() || check_scenes > 0; }
};

// "lm_head*=int8"
std::pair<std::string, WeightFormat> read_pattern(const std::string& text) {
  const size_t sign = text.rfind('=');
  const auto format = sign == std::string::npos ? weight_formats().end() : weight_formats().find(text.substr(sign + 1));
  if (sign == 0 || format == weight_formats().end()) {
    fail(ErrorKind::usage, "--pattern '", text, "'; expected NAME=FORMAT, with keep, bf16, int8, w8a8 or int4");
  }
  return {text.substr(0, sign), format->second};
}

// The worst and the mean error of each part and format.
void print_summary(const QuantiseReport& report) {
  struct Row {
    int64_t count = 0, before = 0, after = 0;
    double sum = 0, worst = 0, output_sum = 0;
    int64_t outputs = 0;
    std::string worst_name;
  };
  std::map<std::pair<std::string, std::string>, Row> rows;
  for (const QuantisedMatrix& m : report.matrices) {
    Row& row = rows[{m.part, weight_format_name(m.format)}];
    ++row.count;
    row.before += m.bytes_before;
    row.after += m.bytes_after;
    row.sum += m.error;
    if (m.output_error) row.output_sum += *m.output_error, ++row.outputs;
    if (m.error >= row.worst) row.worst = m.error, row.worst_name = m.name;
  }
  constexpr double kMiB = 1024.0 * 1024.0;
  std::printf("%-24s %-6s %8s %12s %12s %11s %11s %11s\n", "part", "format", "matrices", "MiB before", "MiB after",
              "mean error", "of outputs", "worst");
  for (const auto& [key, row] : rows) {
    char of_outputs[16] = "";
    if (row.outputs > 0) {
      std::snprintf(of_outputs, sizeof of_outputs, "%.2f%%", 100 * row.output_sum / static_cast<double>(row.outputs));
    }
    std::printf("%-24s %-6s %8lld %12.2f %12.2f %10.2f%% %11s %10.2f%%  %s\n", key.first.c_str(), key.second.c_str(),
                static_cast<long long>(row.count), static_cast<double>(row.before) / kMiB,
                static_cast<double>(row.after) / kMiB, 100 * row.sum / static_cast<double>(row.count), of_outputs,
                100 * row.worst, row.worst_name.c_str());
  }
  std::printf("%-24s %-6s %8zu %12.2f %12.2f\n", "all weights", "", report.matrices.size(),
              static_cast<double>(report.bytes_before) / kMiB, static_cast<double>(report.bytes_after) / kMiB);
}

void check_formats(Options& options) {
  for (const std::string& text : options.patterns) options.work.patterns.push_back(read_pattern(text));
  const bool all_kept = options.work.ar == WeightFormat::keep && options.work.dit == WeightFormat::keep &&
                        options.work.glyph == WeightFormat::keep && options.patterns.empty();
  if (all_kept)
    fail(ErrorKind::usage, "nothing to do: name a format for a part (--ar, --dit, --text-encoder) or a --pattern");
}

GenerateRequest request_of(const std::string& prompt, int64_t steps, uint64_t seed) {
  GenerateRequest request;
  request.prompt = prompt;
  request.steps = steps;
  request.seed = seed;
  validate(request);
  return request;
}

// What is to be drawn for the calibration, checked before any weights are read.
std::vector<GenerateRequest> calibration_requests(const Options& options) {
  std::vector<GenerateRequest> requests;
  if (options.calibrate.empty()) return requests;
  for (const std::string& prompt : read_prompt_file(options.calibrate)) {
    requests.push_back(request_of(prompt, options.calibrate_steps, requests.size()));
  }
  return requests;
}

eval::ComparisonOptions comparison_options(const Options& options, const PipelineOptions& source) {
  eval::ComparisonOptions out{.before = source, .after = source, .prompts = {}, .scenes = options.check_scenes};
  out.after.model = options.work.destination;
  out.steps = options.check_steps;
  if (!options.check.empty()) out.prompts = read_prompt_file(options.check);
  if (!options.checks()) return out;
  for (const std::string& prompt : out.prompts) request_of(prompt, out.steps, 0);
  request_of("a scene", out.steps, 0);
  eval::validate(out);
  return out;
}

// The checkpoint is there by now, whatever becomes of its check.
eval::Comparison check(const eval::ComparisonOptions& options, TerminalProgress& progress) {
  try {
    TerminalProgress inside(TerminalProgress::Style::silent);  // inside of a picture: asked whether to stop, no more
    return eval::compare(options, &inside,
                         [&](int64_t done, int64_t total) { progress.count("pictures", done, total); });
  } catch (const Error& error) {
    throw Error(error.kind(), concat(options.after.model.string(), " is written, but not checked: ", error.what()));
  }
}

Calibration calibrate_source(const PipelineOptions& source, const std::vector<GenerateRequest>& requests,
                             TerminalProgress& progress) {
  const Pipeline pipeline = Pipeline::open(source, &progress);
  progress.finish_line();
  const auto total = static_cast<int64_t>(requests.size());
  progress.count("pictures", 0, total);
  TerminalProgress inside(TerminalProgress::Style::silent);
  return calibrate(pipeline, requests, &inside, [&](int64_t done) { progress.count("pictures", done, total); });
}

int quantise(Options options) {
  watch_interrupts(Patience::steady);
  options.work.source = hub::find_model(options.work.source.string());
  options.draw.model = options.work.source.string();
  const PipelineOptions source = prepare(options.draw);
  check_formats(options);
  validate(options.work);
  const std::vector<GenerateRequest> requests = calibration_requests(options);
  const eval::ComparisonOptions comparison = comparison_options(options, source);

  const bool quiet = options.draw.quiet;
  TerminalProgress progress(quiet ? TerminalProgress::Style::silent : TerminalProgress::style_of_stderr());
  if (!requests.empty()) options.work.calibration = calibrate_source(source, requests, progress);
  const QuantiseReport report = quantise_checkpoint(options.work, [&](int64_t done, int64_t total) {
    progress.count("tensors", done, total);
    return !interrupted();
  });
  progress.finish_line();
  nlohmann::json json = report.to_json();
  if (!quiet && !options.draw.json) print_summary(report);
  if (options.checks()) {
    const eval::Comparison found = check(comparison, progress);
    progress.finish_line();
    json["check"] = found.to_json();
    write_json_file(options.work.destination / "quantisation.json", json);
    if (!quiet && !options.draw.json) std::printf("\n%s", found.text().c_str());
  }
  if (options.draw.json) std::printf("%s\n", json.dump(2).c_str());
  if (!report.kept.empty() && !quiet) {
    std::fprintf(stderr,
                 "note: %zu matrices stay as they are, their width is no multiple of the group (--group): %s%s\n",
                 report.kept.size(), report.kept.front().c_str(), report.kept.size() > 1 ? ", …" : "");
  }
  return 0;
}

// What is drawn, before and behind the work itself.
void add_drawing(CLI::App& command, Options& options) {
  command.add_option("--calibrate", options.calibrate,
                     "File of prompts, one a line: they are drawn, and errors weighed by what matrices are given then");
  command.add_option("--calibrate-steps", options.calibrate_steps, "Denoising steps of each")->capture_default_str();
  CLI::Option* check = command.add_option(
      "--check", options.check, "File of prompts, one a line: drawn with both checkpoints, and the pictures compared");
  command
      .add_option("--check-scenes", options.check_scenes,
                  "The same of so many held-out scenes of the synthetic world, which are also judged as eval does")
      ->excludes(check)
      ->check(CLI::Range(int64_t{1}, int64_t{100000}));
  command.add_option("--check-steps", options.check_steps, "Denoising steps of each")->capture_default_str();
  command.add_option("--dtype", options.draw.dtype, "To draw in: auto, float32, bfloat16 or float16")
      ->capture_default_str();
  command.add_option("--device", options.draw.device, "To draw on: cpu, cuda[:n] or npu[:n]")->capture_default_str();
}

}  // namespace

void add_quantize(CLI::App& app, Command& run) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("quantize", "Write a smaller checkpoint: matrices of 8 or 4 bits");
  command->footer(kFooter);
  command->add_option("source", options->work.source, "Folder of a checkpoint")->required();
  command->add_option("destination", options->work.destination, "Folder to write; must not be there")->required();
  const auto add_format = [&](const char* name, WeightFormat& format, const char* help) {
    command->add_option(name, format, help)
        ->transform(CLI::CheckedTransformer(weight_formats()))
        ->option_text("keep | bf16 | int8 | w8a8 | int4 [keep]");
  };
  add_format("--ar", options->work.ar, "The language model's layers");
  add_format("--dit", options->work.dit, "The diffusion transformer's blocks, but for their modulations");
  add_format("--text-encoder", options->work.glyph, "The glyph encoder's blocks");
  command->add_option("--pattern", options->patterns,
                      "NAME=FORMAT: matrices whose name fits, '*' standing for anything; the last that fits counts");
  command->add_option("--group", options->work.group, "Inputs that share a scale, a multiple of 64; 0: a whole row")
      ->capture_default_str();
  add_drawing(*command, *options);
  command->add_option("--threads", options->draw.threads, "Processor threads; 0: one a core")
      ->capture_default_str()
      ->check(CLI::Range(0, 4096));
  command->add_flag("--json", options->draw.json, "Print JSON");
  command->add_flag("-q,--quiet", options->draw.quiet, "Print nothing but errors");
  command->callback([options, &run] { run = [options] { return quantise(*options); }; });
}

}  // namespace glmimage::cli
