#include "train/stages/export.h"

#include "core/json.h"

namespace glmimage::train {

void export_part(const std::filesystem::path& folder, const nlohmann::json& config, const ParameterList& list,
                 const std::string& weights_name) {
  std::filesystem::create_directories(folder);
  write_json_file(folder / "config.json", config);
  write_safetensors(folder / weights_name, named_tensors(list, at::kBFloat16), {{"format", "pt"}});
}

}  // namespace glmimage::train
