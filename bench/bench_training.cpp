// How long one update of each training stage takes: forward, the stage's own loss, backward, clipping and AdamW, in
// float32 on random data. Prints JSON; bench/compare/run_training holds it against the reference classes.

#include <c10/util/Exception.h>
#include <malloc.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <exception>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

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
  // As `glm-image train`: steps allocate and free the same large blocks again and again.
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, -1);
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
      bench_gemm(report, options.quick ? 256 : 4096, repeats);
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
  std::ofstream file;  // opened first: nobody measures for an hour in vain
  if (!options.out.empty()) {
    file.open(options.out);
    if (!file) fail(ErrorKind::usage, options.out, ": cannot be written");
  }
  const std::string text = run(options).dump(2);
  if (options.out.empty()) {
    std::printf("%s\n", text.c_str());
  } else if (!(file << text << '\n').flush()) {
    fail(ErrorKind::usage, options.out, ": cannot be written; is the disk full?");
  }
  return 0;
}

}  // namespace
}  // namespace glmimage::bench

int main(int argc, char** argv) {
  try {
    return glmimage::bench::main_of(argc, argv);
  } catch (const c10::Error& error) {
    std::fprintf(stderr, "bench_training: %s\n", error.what_without_backtrace());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_training: %s\n", error.what());
  }
  return 1;
}
