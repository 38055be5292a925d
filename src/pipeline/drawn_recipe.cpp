#include "pipeline/drawn_recipe.h"

#include "core/device.h"
#include "core/dtype.h"
#include "core/threads.h"
#include "core/version.h"

namespace glmimage {

std::vector<RecipeAdapter> adapters_of_run(const PipelineOptions& options) {
  std::vector<RecipeAdapter> out;
  for (const LoraChoice& each : options.loras) out.push_back({identify_adapter(each.file), each.scale});
  return out;
}

Recipe recipe_of_run(const PipelineOptions& options) {
  Recipe recipe;
  recipe.program = version_text();
  recipe.model = identify_model(options.model);
  recipe.loras = adapters_of_run(options);
  const std::string device = device_name(options.device);
  recipe.device = device.substr(0, device.find(':'));
  recipe.threads = thread_count();
  return recipe;
}

std::vector<RecipeReference> references_of(const GenerateRequest& request, const std::vector<std::string>& names) {
  std::vector<RecipeReference> out;
  for (size_t i = 0; i < request.references.size(); ++i) {
    const Image& picture = request.references[i];
    out.push_back({i < names.size() ? names[i] : "", hash_picture(picture), picture.width, picture.height});
  }
  return out;
}

Recipe recipe_of_picture(const Recipe& run, const GenerateRequest& request, const Image& drawn, at::ScalarType dtype,
                         const std::vector<std::string>& names) {
  Recipe out = run;
  out.prompt = request.prompt;
  out.seed = request.seed;
  out.width = drawn.width;
  out.height = drawn.height;
  out.steps = request.steps;
  out.guidance_scale = request.guidance_scale;
  out.temperature = request.temperature;
  out.top_p = request.top_p;
  out.cache = request.cache.with_defaults();
  out.references = references_of(request, names);
  out.dtype = dtype_name(dtype);
  return out;
}

}  // namespace glmimage
