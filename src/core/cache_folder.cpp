#include "core/cache_folder.h"

#include <cstdlib>

namespace glmimage {

namespace fs = std::filesystem;

std::optional<fs::path> cache_folder() {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  if (cache && fs::path(cache).is_absolute()) return fs::path(cache) / "glm-image";
  if (home && *home) return fs::path(home) / ".cache/glm-image";
  return std::nullopt;
}

}  // namespace glmimage
