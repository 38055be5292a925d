#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/parameters.h"

namespace glmimage::train {

// Writes one part in the published layout: config.json and its weights, in bfloat16 as published.
void export_part(const std::filesystem::path& folder, const nlohmann::json& config, const ParameterList& list,
                 const std::string& weights_name);

template <typename Model>
void export_model(const std::filesystem::path& folder, const nlohmann::json& config, Model& model,
                  const std::string& weights_name = "diffusion_pytorch_model.safetensors") {
  ParameterList list;
  model.list(list);
  export_part(folder, config, list, weights_name);
}

}  // namespace glmimage::train
