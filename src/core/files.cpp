#include "core/files.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <system_error>

#include "core/error.h"

namespace glmimage {

void write_file(const std::filesystem::path& file, const std::string& content) {
  std::error_code error;
  if (file.has_parent_path()) std::filesystem::create_directories(file.parent_path(), error);
  if (error) fail(ErrorKind::io, file.parent_path().string(), ": the folder cannot be created: ", error.message());
  std::ofstream stream(file, std::ios::binary | std::ios::trunc);
  stream.write(content.data(), static_cast<std::streamsize>(content.size()));
  stream.close();
  if (!stream) fail(ErrorKind::io, file.string(), ": cannot be written: ", std::strerror(errno));
}

}  // namespace glmimage
