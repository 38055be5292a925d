#include "serve/data_folder.h"

#include <sys/stat.h>

#include <cstdlib>
#include <system_error>

#include "core/error.h"

namespace glmimage::serve {
namespace {

namespace fs = std::filesystem;

fs::path named() {
  const auto variable = [](const char* name) -> std::string {
    const char* value = std::getenv(name);
    return value ? value : "";
  };
  if (const std::string own = variable("GLM_IMAGE_DATA"); !own.empty()) return own;
  if (const std::string data = variable("XDG_DATA_HOME"); !data.empty()) return fs::path(data) / "glm-image";
  if (const std::string home = variable("HOME"); !home.empty()) return fs::path(home) / ".local/share/glm-image";
  fail(ErrorKind::usage, "neither GLM_IMAGE_DATA nor HOME is set: where is the queue to be kept?");
}

}  // namespace

fs::path data_folder() {
  const fs::path folder = named();
  std::error_code error;
  const bool made = fs::create_directories(folder, error);
  if (error) fail(ErrorKind::io, folder.string(), ": the folder cannot be made: ", error.message());
  if (made) ::chmod(folder.c_str(), 0700);
  return folder;
}

}  // namespace glmimage::serve
