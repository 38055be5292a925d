#pragma once

#include <filesystem>
#include <string>

namespace glmimage {

// Writes a small file, creating its folder: the new content is there whole, or the old one still is (PartFile). Throws
// ErrorKind::io when the folder or the disk refuses.
void write_file(const std::filesystem::path& file, const std::string& content);

}  // namespace glmimage
