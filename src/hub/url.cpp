#include "hub/url.h"

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstring>
#include <memory>

#include "core/error.h"
#include "core/libcurl.h"
#include "hub/retry.h"

namespace glmimage::hub {
namespace {

using Handle = std::unique_ptr<CURLU, decltype(&::curl_url_cleanup)>;

std::string part(CURLU* url, CURLUPart which, unsigned int flags) {
  char* text = nullptr;
  if (libcurl().url_get(url, which, &text, flags) != CURLUE_OK) return "";
  std::string out = text;
  libcurl().free(text);
  return out;
}

}  // namespace

std::string escape(const std::string& text) {
  std::string out;
  for (const unsigned char c : text) {
    const bool plain = (c < 128 && std::isalnum(c)) || (c != 0 && std::strchr("-._~", c));
    char escaped[4];
    std::snprintf(escaped, sizeof escaped, plain ? "%c" : "%%%02X", c);
    out += escaped;
  }
  return out;
}

std::string escape_path(const std::string& path) {
  std::string out;
  size_t begin = 0;
  for (size_t slash; (slash = path.find('/', begin)) != std::string::npos; begin = slash + 1) {
    out += escape(path.substr(begin, slash - begin)) + "/";
  }
  return out + escape(path.substr(begin));
}

Url Url::parse(const std::string& text) {
  const Handle url(libcurl().url(), libcurl().url_cleanup);
  const bool printable = std::all_of(text.begin(), text.end(), [](unsigned char c) { return c > 32 && c < 127; });
  const bool parsed = printable && url && libcurl().url_set(url.get(), CURLUPART_URL, text.c_str(), 0) == CURLUE_OK;
  Url out;
  if (parsed) {
    out = {.scheme = part(url.get(), CURLUPART_SCHEME, 0),
           .host = part(url.get(), CURLUPART_HOST, 0),
           .port = part(url.get(), CURLUPART_PORT, CURLU_DEFAULT_PORT),
           .path = part(url.get(), CURLUPART_PATH, CURLU_URLDECODE)};
    for (char& c : out.host) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  if (out.host.empty() || (out.scheme != "http" && out.scheme != "https")) {
    fail(ErrorKind::usage, "'", shown_url(text), "' is no address that begins with https:// or http://");
  }
  return out;
}

bool Url::same_origin(const Url& other) const {
  return scheme == other.scheme && host == other.host && port == other.port;
}

bool Url::is_loopback() const { return host == "localhost" || host == "[::1]" || host.starts_with("127."); }

std::string follow_link(const std::string& base, const std::string& link) {
  const Handle url(libcurl().url(), libcurl().url_cleanup);
  if (!url || libcurl().url_set(url.get(), CURLUPART_URL, base.c_str(), 0) != CURLUE_OK ||
      libcurl().url_set(url.get(), CURLUPART_URL, link.c_str(), 0) != CURLUE_OK) {
    fail(ErrorKind::io, "'", shown_url(link), "', to which ", shown_url(base), " leads, is no address");
  }
  return part(url.get(), CURLUPART_URL, 0);
}

std::string without_slash(std::string url) {
  while (url.ends_with('/')) url.pop_back();
  return url;
}

}  // namespace glmimage::hub
