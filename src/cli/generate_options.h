#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/draw_options.h"
#include "cli/label_option.h"
#include "pipeline/picture_file.h"

namespace glmimage::cli {

// What `generate` was told.
struct GenerateOptions {
  DrawOptions draw;
  std::string prompt, prompt_file;
  std::vector<std::string> images;
  std::optional<int64_t> width, height;
  int64_t count = 1;
  std::optional<uint64_t> seed;
  std::string output = "picture.png", trace;
  std::string manifest;        // of the list's finished pictures
  std::string share;           // I/N; empty: as the launcher says
  std::string format;          // empty: by the output's suffix
  std::optional<int> quality;  // of JPEG and WebP
  LabelChoice labelling;
  std::string from;  // a picture to draw again
  bool allow_differences = false;
};

void add_generate_options(CLI::App& command, GenerateOptions& options);

// How pictures are to be written. Throws ErrorKind::usage for a format, quality, label or producer that does not do.
PictureFileOptions file_options_of(const GenerateOptions& options);

}  // namespace glmimage::cli
