// How long the work takes: single layers at published widths with random weights, and whole pictures on a checkpoint.
// Prints JSON; bench/compare/run holds it against the reference classes.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "bench/generate.h"
#include "bench/layers.h"
#include "bench/limits.h"
#include "bench/program.h"
#include "bench/report.h"
#include "core/dtype.h"
#include "core/error.h"
#include "core/memory.h"
#include "core/threads.h"
#include "core/version.h"

namespace glmimage::bench {
namespace {

struct Options {
  std::string model = "checkpoints/mini", dtype = "float32", out;
  std::string prompt = "a green sign with the text \"OPEN\"";
  std::vector<std::string> only = {"limits", "ar", "dit", "vae", "generate"};
  std::optional<int64_t> size;
  int64_t steps = 50;
  int repeat = 5, threads = 0;
  bool quick = false, full = false;
};

bool wants(const Options& options, const char* part) {
  return std::find(options.only.begin(), options.only.end(), part) != options.only.end();
}

nlohmann::ordered_json run(const Options& options) {
  set_threads(options.threads);
  const at::ScalarType dtype = parse_dtype(options.dtype).value_or(at::kFloat);
  LayerSizes sizes = options.quick ? LayerSizes::quick() : LayerSizes{};
  if (options.full && !options.quick) sizes.picture_sides = {256, 512, 1024};
  const Repeats repeats{.warm_up = 1, .measured = options.quick ? 1 : options.repeat};

  Report report;
  if (wants(options, "limits")) bench_limits(report, dtype, options.quick, repeats);
  if (wants(options, "ar")) bench_ar_layer(report, sizes, dtype, repeats);
  if (wants(options, "dit")) bench_dit_layer(report, sizes, dtype, repeats);
  if (wants(options, "vae")) bench_vae_decoder(report, sizes, dtype, repeats);
  if (wants(options, "generate")) {
    bench_generate(report,
                   {.model = options.model,
                    .prompt = options.prompt,
                    .size = options.size,
                    .steps = options.quick ? 2 : options.steps},
                   dtype, repeats);
  }
  return {{"implementation", version_text()},    {"dtype", dtype_name(dtype)},
          {"threads", thread_count()},           {"quick", options.quick},
          {"peak_bytes", peak_resident_bytes()}, {"visual_tokens", report.visual_tokens()},
          {"results", report.results()},         {"skipped", report.skipped()}};
}

int main_of(int argc, char** argv) {
  Options options;
  CLI::App app("Times the layers and the pipeline of glm-image; prints JSON (times in seconds)");
  app.add_option("--only", options.only, "Parts to run")
      ->delimiter(',')
      ->check(CLI::IsMember({"limits", "ar", "dit", "vae", "generate"}))
      ->capture_default_str();
  app.add_option("-m,--model", options.model, "Checkpoint to draw with")->capture_default_str();
  app.add_option("--prompt", options.prompt, "What to draw")->capture_default_str();
  app.add_option("--size", options.size, "Pixels a side; default: the model's own size");
  app.add_option("--steps", options.steps, "Denoising steps")->capture_default_str();
  app.add_option("--dtype", options.dtype, "float32, bfloat16 or float16")->capture_default_str();
  app.add_option("--threads", options.threads, "Processor threads; 0: one a core")->capture_default_str();
  app.add_option("--repeat", options.repeat, "Measured runs of each piece of work; the median counts")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_flag("--quick", options.quick, "A smoke run with tiny sizes: the numbers mean nothing");
  app.add_flag("--full", options.full, "Also what takes long: the VAE decoder at 512 x 512 and 1024 x 1024");
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
