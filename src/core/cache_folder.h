#pragma once

#include <filesystem>
#include <optional>

namespace glmimage {

// This program's own below the user's folder for what can be made again: $XDG_CACHE_HOME/glm-image (where that is an
// absolute path, as its specification asks), else ~/.cache/glm-image. Unset without either variable.
std::optional<std::filesystem::path> cache_folder();

}  // namespace glmimage
