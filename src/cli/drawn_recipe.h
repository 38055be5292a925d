#pragma once

#include <string>
#include <vector>

#include "cli/draw_options.h"
#include "pipeline/recipe.h"

namespace glmimage::cli {

// Of the recipes of one run what all its pictures share, but for the type of the weights, which only the loaded models
// tell. Reads adapters and a part of the weights. Throws ErrorKind::checkpoint.
Recipe recipe_of_run(const DrawOptions& options, const PipelineOptions& pipeline);

// One picture's: `run` with the request. `files` are those of the reference pictures.
Recipe recipe_of_picture(const Recipe& run, const GenerateRequest& request, const Image& drawn,
                         const std::vector<std::string>& files);

}  // namespace glmimage::cli
