#include "core/libcurl.h"

#include "core/error.h"

namespace glmimage {
namespace {

LibCurl open_and_set_up() {
  LibCurl out;
  const decltype(&::curl_global_init) global_init = out.library["curl_global_init"];
  if (global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) fail(ErrorKind::internal, "libcurl cannot be set up");
  return out;
}

}  // namespace

const LibCurl& libcurl() {
  static const LibCurl functions = open_and_set_up();
  return functions;
}

void set_trust(CURL* handle, const CertificateTrust& trust) {
  if (!trust.file.empty()) set_option(handle, CURLOPT_CAINFO, trust.file.c_str());
  if (!trust.folder.empty()) set_option(handle, CURLOPT_CAPATH, trust.folder.c_str());
}

}  // namespace glmimage
