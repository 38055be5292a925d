#include "core/part_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/error.h"

namespace glmimage {
namespace {

std::string reason(int error) {
  std::string text = std::strerror(error);
  if (error == ENOSPC || error == EDQUOT) text += "; is the disk (or the quota) full?";
  if (error == EFBIG) text += "; is there a file size limit (ulimit -f)?";
  return text;
}

}  // namespace

void sync_folder(const std::filesystem::path& folder) {
  const int fd = ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;  // a folder one may write but not read cannot be synced
  const int synced = ::fsync(fd), error = errno;
  ::close(fd);
  // Some network file systems do not sync folders and say so with EINVAL or ENOTSUP.
  if (synced != 0 && error != EINVAL && error != ENOTSUP) {
    fail(ErrorKind::io, folder.native(), ": writing the folder to the disk failed: ", reason(error));
  }
}

PartFile::PartFile(const std::filesystem::path& target) : PartFile(target, target.native() + ".part") {}

PartFile::PartFile(const std::filesystem::path& target, const std::filesystem::path& part)
    : target_(target.native()), part_(part.native()) {
  fd_ = ::open(part_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
  if (fd_ < 0) fail(ErrorKind::io, target_, ": cannot be written: ", part_, ": ", reason(errno));
}

PartFile::~PartFile() {
  if (fd_ >= 0) ::close(fd_);
  if (!renamed_) ::unlink(part_.c_str());
}

void PartFile::write(const void* data, uint64_t count) {
  const char* bytes = static_cast<const char*>(data);
  while (count > 0) {
    const ssize_t n = ::write(fd_, bytes, std::min<uint64_t>(count, uint64_t{1} << 30));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {  // a write of nothing would loop for ever: take it for a full disk
      fail(ErrorKind::io, target_, ": writing failed after ", written_, " bytes: ", reason(n < 0 ? errno : ENOSPC));
    }
    bytes += n;
    count -= static_cast<uint64_t>(n);
    written_ += static_cast<uint64_t>(n);
  }
}

void PartFile::commit() {
  if (::fsync(fd_) != 0) fail(ErrorKind::io, target_, ": writing to the disk failed: ", reason(errno));
  const int closed = ::close(fd_);
  fd_ = -1;
  if (closed != 0 && errno != EINTR) fail(ErrorKind::io, target_, ": writing to the disk failed: ", reason(errno));
  if (::rename(part_.c_str(), target_.c_str()) != 0) {
    fail(ErrorKind::io, target_, ": cannot be put into place: ", reason(errno));
  }
  renamed_ = true;
  glmimage::sync_folder(std::filesystem::path(target_).parent_path());
}

PartFolder::PartFolder(std::filesystem::path target) : target_(std::move(target)), part_(target_.string() + ".part") {
  std::error_code error;
  std::filesystem::remove_all(part_, error);
  std::filesystem::create_directories(part_, error);
  if (error) fail(ErrorKind::io, part_.string(), ": cannot be made: ", error.message());
}

PartFolder::~PartFolder() {
  std::error_code ignored;
  if (!renamed_) std::filesystem::remove_all(part_, ignored);
}

void PartFolder::commit() {
  std::error_code error;
  std::filesystem::rename(part_, target_, error);
  if (error) fail(ErrorKind::io, target_.string(), ": cannot be made: ", error.message());
  renamed_ = true;
  sync_folder(std::filesystem::absolute(target_).parent_path());
}

std::filesystem::path without_trailing_slash(const std::filesystem::path& folder) {
  return folder.has_filename() ? folder : folder.parent_path();
}

}  // namespace glmimage
