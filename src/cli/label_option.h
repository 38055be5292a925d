#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "pipeline/picture_file.h"

namespace glmimage::cli {

// What pictures are to say of themselves, as it was told.
struct LabelChoice {
  std::string label = "hidden", producer;
  bool without_recipe = false;
};

void add_label_options(CLI::App& command, LabelChoice& choice);

// Fills in label and recipe. Throws ErrorKind::usage for a label or producer that does not do.
void apply_label(const LabelChoice& choice, PictureFileOptions& options);

}  // namespace glmimage::cli
