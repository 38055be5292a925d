#pragma once

#include <filesystem>
#include <functional>
#include <string>

namespace glmimage::hub {

// SHA-256, or the SHA-1 by which git names a file (of "blob <size>\0" and the content).
enum class DigestKind { sha256, git_sha1 };

// Of a file's content, as lower-case hex. `stop` is asked every few megabytes; true: throws ErrorKind::cancelled.
// Throws ErrorKind::io when the file cannot be read.
std::string file_digest(const std::filesystem::path& file, DigestKind kind, const std::function<bool()>& stop = {});

}  // namespace glmimage::hub
