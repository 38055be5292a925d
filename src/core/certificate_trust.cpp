#include "core/certificate_trust.h"

#include <unistd.h>

#include <cstdlib>

#include "core/error.h"

namespace glmimage {

CertificateTrust certificate_trust_from_environment() {
  const auto environment = [](const char* name) {
    const char* value = std::getenv(name);
    return std::string(value ? value : "");
  };
  CertificateTrust trust{.file = {}, .folder = environment("SSL_CERT_DIR")};
  for (const char* name : {"CURL_CA_BUNDLE", "SSL_CERT_FILE"}) {
    if (trust.file.empty()) trust.file = environment(name);
    if (!trust.file.empty() && ::access(trust.file.c_str(), R_OK) != 0) {
      fail(ErrorKind::usage, name, " names '", trust.file, "', which cannot be read");
    }
  }
  return trust;
}

}  // namespace glmimage
