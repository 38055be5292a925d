#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace glmimage {

// Has the disk keep the names in a folder: what was made in it or renamed is found after a power cut. Throws
// ErrorKind::io, except where a file system does not sync folders at all.
void sync_folder(const std::filesystem::path& folder);

// A file that appears whole or not at all: written as `<target>.part`, or as `part` on the same file system, synced,
// then renamed. Until commit() returns, the destructor removes it. All faults throw ErrorKind::io naming the target and
// the system's reason.
class PartFile {
 public:
  explicit PartFile(const std::filesystem::path& target);
  PartFile(const std::filesystem::path& target, const std::filesystem::path& part);
  ~PartFile();
  PartFile(const PartFile&) = delete;
  PartFile& operator=(const PartFile&) = delete;

  void write(const void* data, uint64_t count);
  // To the disk, then under its own name: nobody sees half a file, not even after a power cut.
  void commit();

 private:
  std::string target_, part_;
  int fd_ = -1;
  uint64_t written_ = 0;
  bool renamed_ = false;
};

// The same of a folder: filled as `<target>.part`, then renamed; until commit() returns, the destructor removes it.
// What a killed process left under that name goes first. Throws ErrorKind::io naming the folder and the reason.
class PartFolder {
 public:
  explicit PartFolder(std::filesystem::path target);
  ~PartFolder();
  PartFolder(const PartFolder&) = delete;
  PartFolder& operator=(const PartFolder&) = delete;

  const std::filesystem::path& path() const { return part_; }  // to be filled
  void commit();                                               // the target is not there, or an empty folder

 private:
  std::filesystem::path target_, part_;
  bool renamed_ = false;
};

// "dir/" is "dir".
std::filesystem::path without_trailing_slash(const std::filesystem::path& folder);

}  // namespace glmimage
