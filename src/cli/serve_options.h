#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/draw_options.h"
#include "cli/label_option.h"
#include "serve/serving.h"

namespace glmimage::cli {

// What `glm-image serve` is told.
struct ServeOptions {
  DrawOptions draw;
  LabelChoice labelling;
  serve::ServerOptions server;
  serve::ServiceOptions service;
  serve::DrawingRules rules;
  serve::QueueLimits limits;
  std::string model_name = "glm-image";
  std::string queue, blobs;
  std::string max_body = "128MiB", max_picture = "50MB";
  std::vector<std::string> fetch_allow;
  std::string lora_folder;
  std::optional<double> keep_days;
  std::optional<std::string> keep_bytes;
  int64_t drain_seconds = 0;
  int64_t batch = 1;
};

void add_serve_options(CLI::App& command, ServeOptions& options);

// Sets up threads and the device. Throws ErrorKind::usage, ErrorKind::device, ErrorKind::checkpoint.
serve::ServingOptions serving_options(const ServeOptions& options);

}  // namespace glmimage::cli
