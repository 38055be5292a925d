#include "train/data/extent.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "core/error.h"
#include "text/utf8.h"

namespace glmimage::train {
namespace fs = std::filesystem;

namespace {

constexpr uint64_t kMostPictureBytes = uint64_t{1} << 30;
constexpr uint64_t kMostTextBytes = uint64_t{1} << 20;

}  // namespace

Extent Extent::of_file(const fs::path& file) {
  std::error_code error;
  const fs::file_status status = fs::status(file, error);
  if (!fs::exists(status)) fail(ErrorKind::usage, file.native(), ": no such file");
  if (!fs::is_regular_file(status)) fail(ErrorKind::usage, file.native(), ": is no regular file");
  const uint64_t size = fs::file_size(file, error);
  if (error) fail(ErrorKind::usage, file.native(), ": cannot be read: ", error.message());
  return {std::make_shared<const fs::path>(file), 0, size};
}

ExtentReader::ExtentReader(const Extent& extent)
    : extent_(extent), fd_(::open(extent.file->c_str(), O_RDONLY | O_CLOEXEC)) {
  if (fd_ < 0) fail(ErrorKind::usage, extent.file->native(), ": cannot be read: ", std::strerror(errno));
}

ExtentReader::~ExtentReader() { ::close(fd_); }

size_t ExtentReader::read(uint64_t at, std::span<uint8_t> out) const {
  if (at >= extent_.size) return 0;
  const size_t count = static_cast<size_t>(std::min<uint64_t>(out.size(), extent_.size - at));
  size_t filled = 0;
  while (filled < count) {
    const ssize_t n =
        ::pread(fd_, out.data() + filled, count - filled, static_cast<off_t>(extent_.offset + at + filled));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail(ErrorKind::usage, extent_.file->native(), ": cannot be read: ", std::strerror(errno));
    if (n == 0) break;
    filled += static_cast<size_t>(n);
  }
  return filled;
}

std::vector<uint8_t> ExtentReader::all() const {
  if (extent_.size > kMostPictureBytes) {
    fail(ErrorKind::usage, extent_.file->native(), ": more than 1 GiB is no picture that is read here");
  }
  std::vector<uint8_t> bytes(static_cast<size_t>(extent_.size));
  const size_t count = read(0, bytes);
  if (count < bytes.size()) {
    fail(ErrorKind::usage, extent_.file->native(), ": ends ", bytes.size() - count,
         " bytes earlier than when the run began; was it changed?");
  }
  return bytes;
}

std::string read_text(const Extent& extent, const std::string& name) {
  if (extent.size > kMostTextBytes) fail(ErrorKind::usage, name, ": more than 1 MiB is no caption");
  const std::vector<uint8_t> bytes = ExtentReader(extent).all();
  std::string text(bytes.begin(), bytes.end());
  if (text.starts_with("\xEF\xBB\xBF")) text.erase(0, 3);
  require_utf8(text, name);
  return text;
}

}  // namespace glmimage::train
