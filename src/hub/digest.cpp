#include "hub/digest.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "core/sha256.h"

namespace glmimage::hub {
namespace {

class InputFile {
 public:
  explicit InputFile(const std::filesystem::path& path) : path_(path), fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    struct stat info = {};
    if (fd_ < 0 || ::fstat(fd_, &info) != 0) refuse();
    size_ = info.st_size;
  }
  ~InputFile() {
    if (fd_ >= 0) ::close(fd_);
  }
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  int64_t size() const { return size_; }

  // Hands over all bytes, some megabytes at a time.
  template <typename Take>
  void read(const std::function<bool()>& stop, const Take& take) const {
    std::vector<char> buffer(size_t{4} << 20);
    for (;;) {
      if (stop && stop()) fail(ErrorKind::cancelled, "cancelled");
      const ssize_t count = ::read(fd_, buffer.data(), buffer.size());
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) refuse();
      if (count == 0) return;
      take(std::string_view(buffer.data(), static_cast<size_t>(count)));
    }
  }

 private:
  [[noreturn]] void refuse() const { fail(ErrorKind::io, path_.string(), ": cannot be read: ", std::strerror(errno)); }

  std::filesystem::path path_;
  int fd_;
  int64_t size_ = 0;
};

std::string git_sha1(const InputFile& file, const std::function<bool()>& stop) {
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), &EVP_MD_CTX_free);
  const std::string header = "blob " + std::to_string(file.size());
  bool good = context && EVP_DigestInit_ex(context.get(), EVP_sha1(), nullptr) == 1 &&
              EVP_DigestUpdate(context.get(), header.c_str(), header.size() + 1) == 1;  // with the zero byte
  if (good) {
    file.read(stop, [&](std::string_view bytes) {
      good = good && EVP_DigestUpdate(context.get(), bytes.data(), bytes.size()) == 1;
    });
  }
  unsigned char value[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  if (!good || EVP_DigestFinal_ex(context.get(), value, &size) != 1) {
    fail(ErrorKind::internal, "OpenSSL offers no SHA-1");
  }
  std::string out;
  for (unsigned int i = 0; i < size; ++i) {
    char digits[3];
    std::snprintf(digits, sizeof digits, "%02x", value[i]);
    out += digits;
  }
  return out;
}

}  // namespace

std::string file_digest(const std::filesystem::path& path, DigestKind kind, const std::function<bool()>& stop) {
  const InputFile file(path);
  if (kind == DigestKind::git_sha1) return git_sha1(file, stop);
  Sha256 hash;
  file.read(stop, [&](std::string_view bytes) { hash.add(bytes); });
  return hash.hex();
}

}  // namespace glmimage::hub
