#include "cli/drawn_recipe.h"

#include <filesystem>

#include "core/threads.h"
#include "core/version.h"

namespace glmimage::cli {

Recipe recipe_of_run(const DrawOptions& options, const PipelineOptions& pipeline) {
  Recipe recipe;
  recipe.program = version_text();
  recipe.model = identify_model(pipeline.model);
  for (const LoraChoice& each : pipeline.loras) recipe.loras.push_back({identify_adapter(each.file), each.scale});
  recipe.device = options.device.substr(0, options.device.find(':'));
  recipe.threads = thread_count();
  return recipe;
}

Recipe recipe_of_picture(const Recipe& run, const GenerateRequest& request, const Image& drawn,
                         const std::vector<std::string>& files) {
  std::vector<std::string> names;
  for (const std::string& file : files) names.push_back(std::filesystem::path(file).filename().string());
  Recipe recipe = recipe_of(request, drawn, names);
  recipe.program = run.program;
  recipe.model = run.model;
  recipe.loras = run.loras;
  recipe.dtype = run.dtype;
  recipe.device = run.device;
  recipe.threads = run.threads;
  return recipe;
}

}  // namespace glmimage::cli
