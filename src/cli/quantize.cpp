#include <cstdio>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/terminal_progress.h"
#include "core/error.h"
#include "core/threads.h"
#include "pipeline/quantise.h"

namespace glmimage::cli {
namespace {

constexpr const char* kFooter = R"(Examples:
  glm-image quantize ~/GLM-Image ~/GLM-Image-int8 --ar int8 --dit int8
  glm-image quantize ~/GLM-Image ~/GLM-Image-int4 --ar int4 --dit int8 --pattern 'lm_head*=int8'
  glm-image quantize checkpoints/mini small --ar int4 --pattern '*.mlp.*=int8'

The result is a checkpoint like any other, which every command reads; 'quantisation.json' in it has the error of every
matrix.)";

struct Options {
  QuantiseOptions work;
  std::vector<std::string> patterns;
  int threads = 0;
  bool json = false, quiet = false;
};

// "lm_head*=int8"
std::pair<std::string, WeightFormat> read_pattern(const std::string& text) {
  const size_t sign = text.rfind('=');
  const auto format = sign == std::string::npos ? weight_formats().end() : weight_formats().find(text.substr(sign + 1));
  if (sign == 0 || format == weight_formats().end()) {
    fail(ErrorKind::usage, "--pattern '", text, "'; expected NAME=FORMAT, with keep, bf16, int8 or int4");
  }
  return {text.substr(0, sign), format->second};
}

// The worst and the mean error of each part and format.
void print_summary(const QuantiseReport& report) {
  struct Row {
    int64_t count = 0, before = 0, after = 0;
    double sum = 0, worst = 0;
    std::string worst_name;
  };
  std::map<std::pair<std::string, std::string>, Row> rows;
  for (const QuantisedMatrix& m : report.matrices) {
    Row& row = rows[{m.part, weight_format_name(m.format)}];
    ++row.count;
    row.before += m.bytes_before;
    row.after += m.bytes_after;
    row.sum += m.error;
    if (m.error >= row.worst) row.worst = m.error, row.worst_name = m.name;
  }
  constexpr double kMiB = 1024.0 * 1024.0;
  std::printf("%-24s %-6s %8s %12s %12s %11s %11s\n", "part", "format", "matrices", "MiB before", "MiB after",
              "mean error", "worst");
  for (const auto& [key, row] : rows) {
    std::printf("%-24s %-6s %8lld %12.2f %12.2f %10.2f%% %10.2f%%  %s\n", key.first.c_str(), key.second.c_str(),
                static_cast<long long>(row.count), static_cast<double>(row.before) / kMiB,
                static_cast<double>(row.after) / kMiB, 100 * row.sum / static_cast<double>(row.count), 100 * row.worst,
                row.worst_name.c_str());
  }
  std::printf("%-24s %-6s %8zu %12.2f %12.2f\n", "all weights", "", report.matrices.size(),
              static_cast<double>(report.bytes_before) / kMiB, static_cast<double>(report.bytes_after) / kMiB);
}

int quantise(Options options) {
  watch_interrupts(Patience::steady);
  set_threads(options.threads);
  for (const std::string& text : options.patterns) options.work.patterns.push_back(read_pattern(text));
  const bool all_kept = options.work.ar == WeightFormat::keep && options.work.dit == WeightFormat::keep &&
                        options.work.glyph == WeightFormat::keep && options.patterns.empty();
  if (all_kept)
    fail(ErrorKind::usage, "nothing to do: name a format for a part (--ar, --dit, --text-encoder) or a --pattern");
  TerminalProgress progress(options.quiet ? TerminalProgress::Style::silent : TerminalProgress::style_of_stderr());
  const QuantiseReport report = quantise_checkpoint(options.work, [&](int64_t done, int64_t total) {
    progress.count("tensors", done, total);
    return !interrupted();
  });
  progress.finish_line();
  if (options.json) {
    std::printf("%s\n", report.to_json().dump(2).c_str());
  } else if (!options.quiet) {
    print_summary(report);
  }
  if (!report.kept.empty() && !options.quiet) {
    std::fprintf(stderr,
                 "note: %zu matrices stay as they are, their width is no multiple of the group (--group): %s%s\n",
                 report.kept.size(), report.kept.front().c_str(), report.kept.size() > 1 ? ", …" : "");
  }
  return 0;
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
        ->option_text("keep | bf16 | int8 | int4 [keep]");
  };
  add_format("--ar", options->work.ar, "The language model's layers");
  add_format("--dit", options->work.dit, "The diffusion transformer's blocks, but for their modulations");
  add_format("--text-encoder", options->work.glyph, "The glyph encoder's blocks");
  command->add_option("--pattern", options->patterns,
                      "NAME=FORMAT: matrices whose name fits, '*' standing for anything; the last that fits counts");
  command->add_option("--group", options->work.group, "Inputs that share a scale, a multiple of 64; 0: a whole row")
      ->capture_default_str();
  command->add_option("--threads", options->threads, "Processor threads; 0: one a core")
      ->capture_default_str()
      ->check(CLI::Range(0, 4096));
  command->add_flag("--json", options->json, "Print JSON");
  command->add_flag("-q,--quiet", options->quiet, "Print nothing but errors");
  command->callback([options, &run] { run = [options] { return quantise(*options); }; });
}

}  // namespace glmimage::cli
