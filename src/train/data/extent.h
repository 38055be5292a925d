#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace glmimage::train {

// Where the bytes of a picture or a caption lie: a whole file, or a member of an archive.
struct Extent {
  std::shared_ptr<const std::filesystem::path> file;  // shared by the members of one archive
  uint64_t offset = 0, size = 0;                      // bytes

  // A whole file. Throws ErrorKind::usage when it is missing or no regular file.
  static Extent of_file(const std::filesystem::path& file);
};

// Reads an extent at any place (pread), from any thread. The file is opened for each reader and closed with it: shards
// may be more than a process may hold open.
class ExtentReader {
 public:
  // Throws ErrorKind::usage naming the file when it cannot be opened.
  explicit ExtentReader(const Extent& extent);
  ~ExtentReader();
  ExtentReader(const ExtentReader&) = delete;
  ExtentReader& operator=(const ExtentReader&) = delete;

  // As core's ReadAt: fewer bytes only at the end of the extent or of a file that has become shorter.
  size_t read(uint64_t at, std::span<uint8_t> out) const;
  // All of it. Throws ErrorKind::usage when the file has become shorter or the extent is larger than 1 GiB.
  std::vector<uint8_t> all() const;

 private:
  const Extent extent_;
  int fd_;
};

// A caption file, at most 1 MiB; a byte order mark is taken off. Throws ErrorKind::usage when it is larger, cannot be
// read or is not UTF-8.
std::string read_text(const Extent& extent, const std::string& name);

}  // namespace glmimage::train
