#pragma once

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/parameters.h"

namespace glmimage::train {

// Writes config.json into `folder`.
inline void write_json(const std::filesystem::path& file, const nlohmann::json& value) {
  std::filesystem::create_directories(file.parent_path());
  std::ofstream out(file);
  out << value.dump(2) << '\n';
  if (!out) fail(ErrorKind::io, file.string(), ": cannot be written");
}

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
