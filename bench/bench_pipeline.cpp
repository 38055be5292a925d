// How long the work takes: single layers at published widths with random weights, and whole pictures on a checkpoint.
// Prints JSON; bench/compare/run holds it against the reference classes.

#include <CLI/CLI.hpp>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "bench/generate.h"
#include "bench/layers.h"
#include "bench/limits.h"
#include "bench/program.h"
#include "bench/report.h"
#include "bench/weights.h"
#include "core/device.h"
#include "core/error.h"
#include "core/memory.h"
#include "core/threads.h"
#include "core/version.h"

namespace glmimage::bench {
namespace {

using LayerBench = void (*)(Report&, const LayerSizes&, const Format&, Repeats);
const std::map<std::string, LayerBench>& layer_parts() {
  static const std::map<std::string, LayerBench> parts = {
      {"products", bench_products},      {"ar", bench_ar_layer},        {"dit", bench_dit_layer},
      {"vision", bench_vision_layer},    {"glyph", bench_glyph_layers}, {"vae_encode", bench_vae_encoder},
      {"vae_decode", bench_vae_decoder},
  };
  return parts;
}

struct Options {
  std::string model = "checkpoints/mini", dtype = "float32", device = "cpu", out;
  std::string prompt = "a green sign with the text \"OPEN\"";
  std::vector<std::string> only = {"limits", "ar", "dit", "vision", "glyph", "vae_encode", "vae_decode", "generate"};
  std::vector<int64_t> sides;
  std::optional<int64_t> size;
  int64_t steps = 50;
  int warm_up = 1, repeat = 5, threads = 0;
  bool quick = false;
};

void run_part(Report& report, const std::string& part, const Options& options, const Format& format, Repeats repeats) {
  if (part == "limits") {
    if (format.bits == 4) fail(ErrorKind::usage, "limits knows no product of 4 bits; its dtypes end with int8");
    return bench_limits(report, format.bits == 8 ? at::kChar : format.dtype, options.quick, repeats);
  }
  if (part == "generate") {
    if (format.bits) fail(ErrorKind::usage, "generate runs a checkpoint as it is stored; quantise that instead");
    return bench_generate(report,
                          {.model = options.model,
                           .prompt = options.prompt,
                           .size = options.size,
                           .steps = options.quick ? 2 : options.steps},
                          format.dtype, repeats);
  }
  LayerSizes sizes = options.quick ? LayerSizes::quick() : LayerSizes{};
  if (!options.sides.empty() && !options.quick) sizes.picture_sides = options.sides;
  layer_parts().at(part)(report, sizes, format, repeats);
}

nlohmann::ordered_json run(const Options& options) {
  const at::Device device = open_device(parse_device(options.device));
  set_threads(options.threads);
  Format format = Format::of(options.dtype);
  format.device = device;
  const Repeats repeats{.warm_up = options.warm_up,
                        .measured = options.quick ? 1 : options.repeat,
                        .device = device,
                        .ahead = device.is_cpu() ? 1 : 20};
  Report report;
  for (const std::string& part : options.only) run_part(report, part, options, format, repeats);
  return {{"implementation", version_text()},
          {"device", device_name(device)},
          {"dtype", format.name},
          {"threads", thread_count()},
          {"quick", options.quick},
          {"peak_bytes", peak_resident_bytes()},
          {"visual_tokens", report.visual_tokens()},
          {"results", report.results()},
          {"skipped", report.skipped()}};
}

std::vector<std::string> part_names() {
  std::vector<std::string> names = {"limits", "generate"};
  for (const auto& [name, bench] : layer_parts()) names.push_back(name);
  return names;
}

int main_of(int argc, char** argv) {
  Options options;
  CLI::App app("Times the layers and the pipeline of glm-image; prints JSON (times in seconds)");
  app.add_option("--only", options.only, "Parts to run")
      ->delimiter(',')
      ->check(CLI::IsMember(part_names()))
      ->capture_default_str();
  app.add_option("-m,--model", options.model, "Checkpoint to draw with")->capture_default_str();
  app.add_option("--prompt", options.prompt, "What to draw")->capture_default_str();
  app.add_option("--size", options.size, "Pixels a side; default: the model's own size");
  app.add_option("--steps", options.steps, "Denoising steps")->capture_default_str();
  app.add_option("--dtype", options.dtype, "float32, bfloat16, float16; int8, int4: matrices so, the rest bfloat16")
      ->check(CLI::IsMember(Format::names()))
      ->capture_default_str();
  app.add_option("--device", options.device, "cpu, cuda[:n] or npu[:n]")->capture_default_str();
  app.add_option("--sides", options.sides,
                 "Pixels a side of the pictures of dit, vae_encode and vae_decode; default: 512")
      ->delimiter(',')
      ->check(CLI::Range(32, 4096));
  app.add_option("--threads", options.threads, "Processor threads; 0: one a core")->capture_default_str();
  app.add_option("--warm-up", options.warm_up, "Runs of each piece of work before those that are measured")
      ->check(CLI::Range(0, 1000))
      ->capture_default_str();
  app.add_option("--repeat", options.repeat, "Measured runs of each piece of work; the median counts")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_flag("--quick", options.quick, "A smoke run with tiny sizes: the numbers mean nothing");
  app.add_option("-o,--out", options.out, "Write the JSON to this file instead of printing it");
  CLI11_PARSE(app, argc, argv);
  measure_and_write(options.out, [&] { return run(options); });
  return 0;
}

}  // namespace
}  // namespace glmimage::bench

int main(int argc, char** argv) {
  return glmimage::bench::run_program("bench_pipeline", glmimage::bench::main_of, argc, argv);
}
