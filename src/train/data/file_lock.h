#pragma once

#include <filesystem>

namespace glmimage::train {

// A lock between processes: whoever holds it makes a file the others wait for. The system takes it back when its
// process ends, however it ends. On file systems without locks everyone gets it, and work is done twice.
class FileLock {
 public:
  // Does not wait: held() says whether it was free. `file` is made when it is not there, and taken away by the
  // destructor of who held the lock.
  explicit FileLock(const std::filesystem::path& file);
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

  bool held() const { return held_; }

 private:
  std::filesystem::path file_;
  int fd_ = -1;
  bool held_ = false;
};

}  // namespace glmimage::train
