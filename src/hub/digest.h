#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace glmimage::hub {

// SHA-256, or the SHA-1 by which git names a file (of "blob <size>\0" and the content). As lower-case hex.
enum class DigestKind { sha256, git_sha1 };

class Digest {
 public:
  // `size` of the whole content in bytes; git's name begins with it.
  Digest(DigestKind kind, int64_t size);
  ~Digest();
  void update(std::string_view bytes);
  std::string hex();  // once, at the end

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

// Of a file. `stop` is asked every few megabytes; true: throws ErrorKind::cancelled. Throws ErrorKind::io when it
// cannot be read.
std::string file_digest(const std::filesystem::path& file, DigestKind kind, const std::function<bool()>& stop = {});

}  // namespace glmimage::hub
