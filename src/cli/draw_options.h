#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "pipeline/pipeline.h"
#include "pipeline/progress.h"
#include "pipeline/request.h"

namespace glmimage::cli {

// What every command that draws is told about how to draw.
struct DrawOptions {
  std::string model = "checkpoints/mini";
  std::vector<std::string> loras;
  int64_t steps = 50;
  double guidance = 1.5;
  std::optional<double> temperature, top_p;
  std::string cache = "none";
  std::optional<double> cache_threshold;
  std::optional<int64_t> cache_interval;
  std::string dtype = "auto", device = "cpu", memory = "auto";
  int threads = 0;
  bool json = false, quiet = false;
};

// Adds these options to a command.
void add_draw_options(CLI::App& command, DrawOptions& options);

// Sets up threads and the device, whose library must be loaded before LibTorch is used for anything else; also checks
// the options' texts. Throws ErrorKind::usage, ErrorKind::device, ErrorKind::checkpoint for an adapter that is not
// there.
PipelineOptions prepare(const DrawOptions& options);

// A request with the options' settings and nothing else.
GenerateRequest request_of(const DrawOptions& options);

// "glm-image: warning: …" on standard error for adapters that hold more than this program draws with.
void warn_of_unmatched(const std::vector<LoraUse>& uses);

}  // namespace glmimage::cli
