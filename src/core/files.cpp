#include "core/files.h"

#include <system_error>

#include "core/error.h"
#include "core/part_file.h"

namespace glmimage {

void write_file(const std::filesystem::path& file, const std::string& content) {
  std::error_code error;
  if (file.has_parent_path()) std::filesystem::create_directories(file.parent_path(), error);
  if (error) fail(ErrorKind::io, file.parent_path().string(), ": the folder cannot be created: ", error.message());
  PartFile part(file);
  part.write(content.data(), content.size());
  part.commit();
}

}  // namespace glmimage
