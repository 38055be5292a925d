#pragma once

#include <filesystem>

namespace glmimage::hub {

// The right to pull into a folder, for one process at a time; the system takes it back when the process ends, however
// it ends. Makes the folder. Throws ErrorKind::io when another process has it, or the disk refuses.
class FolderLock {
 public:
  explicit FolderLock(const std::filesystem::path& folder);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int fd_ = -1;
};

}  // namespace glmimage::hub
