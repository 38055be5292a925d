#pragma once

#include <string>
#include <vector>

#include "pipeline/pipeline.h"
#include "pipeline/recipe.h"

namespace glmimage {

// Of the recipes of pictures drawn with one pipeline what they share: program, weights, adapters, device and threads
// (as they are set now). The type of the weights is added by recipe_of_picture. Reads the adapters and a part of the
// weights, so it is called once. Throws ErrorKind::checkpoint.
Recipe recipe_of_run(const PipelineOptions& options);
// Its adapters alone, for a pipeline that was opened again with others.
std::vector<RecipeAdapter> adapters_of_run(const PipelineOptions& options);

// One picture's: what its run says, and the request with its pictures. `drawn` tells the size, `dtype` is
// Pipeline::dtype; `names` are those of the request's pictures, without folders, or empty.
Recipe recipe_of_picture(const Recipe& run, const GenerateRequest& request, const Image& drawn, at::ScalarType dtype,
                         const std::vector<std::string>& names = {});

// What a request's pictures are called by in recipes.
std::vector<RecipeReference> references_of(const GenerateRequest& request, const std::vector<std::string>& names = {});

}  // namespace glmimage
