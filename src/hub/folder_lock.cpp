#include "hub/folder_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "core/error.h"
#include "hub/own_files.h"

namespace glmimage::hub {
namespace {

// Whoever has the lock writes its number into the file, for people.
std::string holder(int fd) {
  char text[24] = "";
  const ssize_t count = ::pread(fd, text, sizeof text - 1, 0);
  const std::string number(text, count > 0 ? static_cast<size_t>(count) : 0);
  const bool digits = !number.empty() && number.find_first_not_of("0123456789") == std::string::npos;
  return digits ? " (process " + number + ")" : "";
}

}  // namespace

FolderLock::FolderLock(const std::filesystem::path& folder) {
  const std::filesystem::path own = folder / kOwnFolder, file = own / kLockName;
  std::error_code error;
  std::filesystem::create_directories(own, error);
  if (error) fail(ErrorKind::io, own.string(), ": the folder cannot be made: ", error.message());
  fd_ = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
  if (fd_ < 0) fail(ErrorKind::io, file.string(), ": cannot be written: ", std::strerror(errno));
  if (::flock(fd_, LOCK_EX | LOCK_NB) != 0) {
    const int reason = errno;
    const std::string who = holder(fd_);
    ::close(fd_);
    if (reason == EWOULDBLOCK)
      fail(ErrorKind::io, folder.string(), ": another pull", who, " is at work in this folder");
    fail(ErrorKind::io, file.string(), ": the file system has no locks: ", std::strerror(reason));
  }
  const std::string number = std::to_string(::getpid());
  if (::ftruncate(fd_, 0) != 0 || ::pwrite(fd_, number.data(), number.size(), 0) < 0) {
    // A full disk; the lock holds all the same.
  }
}

FolderLock::~FolderLock() { ::close(fd_); }

}  // namespace glmimage::hub
