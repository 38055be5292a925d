#include "hub/digest.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

#include "core/error.h"

namespace glmimage::hub {

struct Digest::Context {
  EVP_MD_CTX* evp = EVP_MD_CTX_new();
  ~Context() { EVP_MD_CTX_free(evp); }
};

Digest::Digest(DigestKind kind, int64_t size) : context_(std::make_unique<Context>()) {
  const EVP_MD* method = kind == DigestKind::sha256 ? EVP_sha256() : EVP_sha1();
  if (!context_->evp || EVP_DigestInit_ex(context_->evp, method, nullptr) != 1) {
    fail(ErrorKind::internal, "OpenSSL offers no ", kind == DigestKind::sha256 ? "SHA-256" : "SHA-1");
  }
  if (kind == DigestKind::git_sha1) {
    const std::string header = "blob " + std::to_string(size);
    update({header.c_str(), header.size() + 1});  // with the zero byte
  }
}

Digest::~Digest() = default;

void Digest::update(std::string_view bytes) {
  if (EVP_DigestUpdate(context_->evp, bytes.data(), bytes.size()) != 1) {
    fail(ErrorKind::internal, "OpenSSL stopped in the middle of a digest");
  }
}

std::string Digest::hex() {
  unsigned char value[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  if (EVP_DigestFinal_ex(context_->evp, value, &size) != 1) {
    fail(ErrorKind::internal, "OpenSSL stopped in the middle of a digest");
  }
  std::string out;
  for (unsigned int i = 0; i < size; ++i) {
    char digits[3];
    std::snprintf(digits, sizeof digits, "%02x", value[i]);
    out += digits;
  }
  return out;
}

std::string file_digest(const std::filesystem::path& file, DigestKind kind, const std::function<bool()>& stop) {
  struct Descriptor {
    int fd;
    ~Descriptor() {
      if (fd >= 0) ::close(fd);
    }
  };
  const Descriptor in{::open(file.c_str(), O_RDONLY | O_CLOEXEC)};
  struct stat info = {};
  if (in.fd < 0 || ::fstat(in.fd, &info) != 0) {
    fail(ErrorKind::io, file.string(), ": cannot be read: ", std::strerror(errno));
  }
  Digest digest(kind, info.st_size);
  std::vector<char> buffer(size_t{4} << 20);
  for (;;) {
    if (stop && stop()) fail(ErrorKind::cancelled, "cancelled");
    const ssize_t count = ::read(in.fd, buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail(ErrorKind::io, file.string(), ": cannot be read: ", std::strerror(errno));
    if (count == 0) return digest.hex();
    digest.update({buffer.data(), static_cast<size_t>(count)});
  }
}

}  // namespace glmimage::hub
