#pragma once

#include <string>

namespace glmimage {

// Certificates to trust instead of the system's; empty: the system's. PEM.
struct CertificateTrust {
  std::string file, folder;
};

// As the environment says, under the names that the curl program and OpenSSL read: CURL_CA_BUNDLE, SSL_CERT_FILE,
// SSL_CERT_DIR. Throws ErrorKind::usage when it names a file that cannot be read.
CertificateTrust certificate_trust_from_environment();

}  // namespace glmimage
