// How long one update of each training stage takes: forward, the stage's own loss, backward, clipping and AdamW, in
// float32 on random data. Prints JSON; bench/compare/run_training holds it against the reference classes.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bench/limits.h"
#include "bench/program.h"
#include "bench/report.h"
#include "bench/training.h"
#include "core/error.h"
#include "core/memory.h"
#include "core/threads.h"
#include "core/version.h"

namespace glmimage::bench {
namespace {

struct Options {
  std::vector<std::string> only = {"vae", "tokenizer", "ar", "dit", "gemm"}, sizes = {"mini", "published"};
  std::string out;
  int repeat = 3, threads = 0;
  bool quick = false;
};

nlohmann::ordered_json run(const Options& options) {
  keep_freed_memory();
  set_threads(options.threads);
  std::vector<TrainingSizes> all;
  for (const std::string& name : options.sizes) {
    if (!options.quick) all.push_back(name == "mini" ? TrainingSizes::mini() : TrainingSizes::published());
  }
  if (options.quick) all.push_back(TrainingSizes::quick());
  const Repeats repeats{.warm_up = 1, .measured = options.quick ? 1 : options.repeat};

  const std::map<std::string, void (*)(Report&, const TrainingSizes&, Repeats)> stages = {
      {"vae", bench_vae_step}, {"tokenizer", bench_tokenizer_step}, {"ar", bench_ar_step}, {"dit", bench_dit_step}};
  Report report;
  for (const std::string& part : options.only) {
    if (part == "gemm") {
      bench_gemm(report, options.quick ? 256 : 4096, at::kFloat, repeats);
      continue;
    }
    for (const TrainingSizes& sizes : all) stages.at(part)(report, sizes, repeats);
  }
  return {{"implementation", version_text()},
          {"threads", thread_count()},
          {"quick", options.quick},
          {"peak_bytes", peak_resident_bytes()},
          {"results", report.results()}};
}

int main_of(int argc, char** argv) {
  Options options;
  CLI::App app("Times one update of each training stage; prints JSON (times in seconds)");
  app.add_option("--only", options.only, "Parts to run")
      ->delimiter(',')
      ->check(CLI::IsMember({"vae", "tokenizer", "ar", "dit", "gemm"}))
      ->capture_default_str();
  app.add_option("--sizes", options.sizes, "The shipped preset, the published widths, or both")
      ->delimiter(',')
      ->check(CLI::IsMember({"mini", "published"}))
      ->capture_default_str();
  app.add_option("--threads", options.threads, "Processor threads; 0: one a core")->capture_default_str();
  app.add_option("--repeat", options.repeat, "Measured updates of each stage")
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
  return glmimage::bench::run_program("bench_training", glmimage::bench::main_of, argc, argv);
}
