#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "pipeline/pipeline.h"
#include "serve/services.h"

namespace glmimage::serve {

// What the API tells of a checkpoint, and how it counts tokens. Throws ErrorKind::checkpoint.
ServedModel describe_model(const std::string& name, const std::filesystem::path& folder, const Pipeline& pipeline);

}  // namespace glmimage::serve
