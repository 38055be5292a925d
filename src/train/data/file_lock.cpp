#include "train/data/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/error.h"

namespace glmimage::train {

FileLock::FileLock(const std::filesystem::path& file) : file_(file) {
  fd_ = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (fd_ < 0) fail(ErrorKind::io, file.string(), ": cannot be made: ", std::strerror(errno));
  const int result = ::flock(fd_, LOCK_EX | LOCK_NB);
  held_ = result == 0 || errno != EWOULDBLOCK;  // any other fault: no locks here, and nobody to wait for
}

FileLock::~FileLock() {
  // Another process may hold the same file open and get the lock of a file that is no longer there: it finds the result
  // made, as everyone looks for it again under the lock.
  if (held_) ::unlink(file_.c_str());
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace glmimage::train
