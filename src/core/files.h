#pragma once

#include <filesystem>
#include <string>

namespace glmimage {

// Writes a small file whole, creating its folder. Throws ErrorKind::io when the folder or the disk refuses.
void write_file(const std::filesystem::path& file, const std::string& content);

}  // namespace glmimage
