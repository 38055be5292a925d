#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "cli/generate_options.h"
#include "cli/picture_list.h"
#include "core/launch.h"
#include "pipeline/picture_file.h"
#include "pipeline/pipeline.h"
#include "pipeline/recipe.h"

namespace glmimage::cli {

// What `generate` is to draw: all that is known before weights are loaded.
struct GeneratePlan {
  PipelineOptions pipeline;
  GenerateRequest request;  // without prompt and seed
  PictureFileOptions file;
  std::vector<WantedPicture> pictures;  // this process's share
  int64_t listed = 0;                   // of all shares
  std::optional<Share> share;           // when the list is divided
};

// Opens the device and checks all that can be checked. A list of prompts is divided by --share, else as a cluster's
// launcher says (core/launch.h). Throws ErrorKind::usage, ErrorKind::device, ErrorKind::io.
GeneratePlan make_plan(const GenerateOptions& options, bool prompt_given);

// What all pictures of a manifest share. Device, threads and version are left out: the machines that work on a list may
// differ, and pictures with them in their last bits.
nlohmann::ordered_json settings_of(const GenerateOptions& options, const GeneratePlan& plan, const Recipe& run);

// Of files, without their folders.
std::vector<std::string> names_of(const std::vector<std::string>& files);

}  // namespace glmimage::cli
