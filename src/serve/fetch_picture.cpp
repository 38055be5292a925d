#include "serve/fetch_picture.h"

#include <arpa/inet.h>
#include <netdb.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cctype>
#include <cstring>
#include <memory>
#include <vector>

#include "core/error.h"
#include "core/libcurl.h"
#include "serve/refusal.h"

namespace glmimage::serve {
namespace {

[[noreturn]] void refuse(const std::string& why) {
  throw Refusal(400, "the picture's URL cannot be used: " + why, "image_url", "invalid_image_url");
}

struct Range {
  std::array<uint8_t, 16> network;
  int bits;
};

Range v4(uint8_t a, uint8_t b, uint8_t c, int bits) { return {{a, b, c, 0}, bits}; }

// RFC 6890 and its registry at IANA: what is not globally reachable, multicast, and ways to write such addresses.
const std::vector<Range>& closed_v4() {
  static const std::vector<Range> ranges = {
      v4(0, 0, 0, 8),     v4(10, 0, 0, 8),      v4(100, 64, 0, 10),  v4(127, 0, 0, 8),    v4(169, 254, 0, 16),
      v4(172, 16, 0, 12), v4(192, 0, 0, 24),    v4(192, 0, 2, 24),   v4(192, 88, 99, 24), v4(192, 168, 0, 16),
      v4(198, 18, 0, 15), v4(198, 51, 100, 24), v4(203, 0, 113, 24), v4(224, 0, 0, 3)};
  return ranges;
}

bool inside(const uint8_t* address, const Range& range) {
  const int whole = range.bits / 8, rest = range.bits % 8;
  if (std::memcmp(address, range.network.data(), static_cast<size_t>(whole)) != 0) return false;
  if (rest == 0) return true;
  const uint8_t mask = static_cast<uint8_t>(0xff << (8 - rest));
  return (address[whole] & mask) == (range.network[static_cast<size_t>(whole)] & mask);
}

bool public_v4(const uint8_t* address) {
  for (const Range& range : closed_v4()) {
    if (inside(address, range)) return false;
  }
  return true;
}

// Only 2000::/3 is handed out; in it, 6to4 and Teredo carry another address, and 2001:db8:: is for books.
bool public_v6(const uint8_t* a) {
  if (inside(a, {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, 96})) return public_v4(a + 12);
  if (inside(a, {{0, 0x64, 0xff, 0x9b}, 96})) return public_v4(a + 12);
  if ((a[0] & 0xe0) != 0x20) return false;
  return !inside(a, {{0x20, 0x02}, 16}) && !inside(a, {{0x20, 0x01}, 23}) && !inside(a, {{0x20, 0x01, 0x0d, 0xb8}, 32});
}

struct CurlUrl {
  CURLU* handle = libcurl().url();
  ~CurlUrl() { libcurl().url_cleanup(handle); }
  std::string part(CURLUPart which, unsigned flags = 0) const {
    char* text = nullptr;
    if (libcurl().url_get(handle, which, &text, flags) != CURLUE_OK) return {};
    std::string out = text;
    libcurl().free(text);
    return out;
  }
};

struct Target {
  std::string url, host, port;  // the host in lower case, an IPv6 address without brackets
  std::string name() const { return host + ":" + port; }
};

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

// Scheme, host and port; no user names, which serve to disguise the host.
Target understand(const std::string& text) {
  CurlUrl url;
  if (text.size() > 4096) refuse("it is longer than 4096 bytes");
  if (libcurl().url_set(url.handle, CURLUPART_URL, text.c_str(), 0) != CURLUE_OK) refuse("it is no valid URL");
  if (url.part(CURLUPART_SCHEME) != "https") refuse("only https:// and data: are taken");
  if (!url.part(CURLUPART_USER).empty() || !url.part(CURLUPART_PASSWORD).empty()) refuse("it holds a user name");
  std::string host = lower(url.part(CURLUPART_HOST));
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  return {url.part(CURLUPART_URL), host, url.part(CURLUPART_PORT, CURLU_DEFAULT_PORT)};
}

// Every address of the host, all of them checked.
std::vector<std::string> look_up(const Target& target, const FetchSources& sources) {
  const bool named = std::find(sources.named.begin(), sources.named.end(), target.name()) != sources.named.end();
  if (!named && !sources.public_hosts) refuse("this server fetches no pictures from its host");
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (::getaddrinfo(target.host.c_str(), nullptr, &hints, &found) != 0) refuse("its host has no address");
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, ::freeaddrinfo);
  std::vector<std::string> out;
  for (const addrinfo* each = found; each; each = each->ai_next) {
    char text[NI_MAXHOST];
    if (::getnameinfo(each->ai_addr, each->ai_addrlen, text, sizeof text, nullptr, 0, NI_NUMERICHOST) != 0) continue;
    if (!named && !is_public_address(text)) refuse("its host is not on the public internet");
    out.emplace_back(text);
  }
  if (out.empty()) refuse("its host has no address");
  return out;
}

struct Received {
  std::string bytes;
  uint64_t limit;
};

size_t receive(char* data, size_t, size_t count, void* to) {
  Received& received = *static_cast<Received*>(to);
  if (received.bytes.size() + count > received.limit) return CURL_WRITEFUNC_ERROR;
  received.bytes.append(data, count);
  return count;
}

// "host:port:address,address": what curl takes for the answer of the name service.
std::string pin(const Target& target, const std::vector<std::string>& addresses) {
  std::string out = target.host + ":" + target.port + ":";
  for (size_t i = 0; i < addresses.size(); ++i) {
    const bool v6 = addresses[i].find(':') != std::string::npos;
    out += concat(i ? "," : "", v6 ? "[" : "", addresses[i], v6 ? "]" : "");
  }
  return out;
}

struct Hop {
  std::string bytes;
  std::string location;  // of a redirect
};

Hop get(const Target& target, const FetchSources& sources, const FetchLimits& limits) {
  const std::unique_ptr<CURL, decltype(&::curl_easy_cleanup)> curl(libcurl().easy_init(), libcurl().easy_cleanup);
  const std::unique_ptr<curl_slist, decltype(&::curl_slist_free_all)> resolve(
      libcurl().slist_append(nullptr, pin(target, look_up(target, sources)).c_str()), libcurl().slist_free_all);
  Received received{{}, limits.bytes};
  set_option(curl.get(), CURLOPT_URL, target.url.c_str());
  set_option(curl.get(), CURLOPT_RESOLVE, resolve.get());
  set_option(curl.get(), CURLOPT_PROTOCOLS_STR, "https");
  set_option(curl.get(), CURLOPT_PROXY, "");
  set_trust(curl.get(), sources.trust);
  set_option(curl.get(), CURLOPT_NOSIGNAL, 1L);
  set_option(curl.get(), CURLOPT_FOLLOWLOCATION, 0L);
  set_option(curl.get(), CURLOPT_CONNECTTIMEOUT_MS, 5000L);
  set_option(curl.get(), CURLOPT_TIMEOUT_MS, static_cast<long>(limits.time.count()));
  set_option(curl.get(), CURLOPT_MAXFILESIZE_LARGE, static_cast<curl_off_t>(limits.bytes));
  set_option(curl.get(), CURLOPT_USERAGENT, "glm-image/" GLM_IMAGE_VERSION);
  set_option(curl.get(), CURLOPT_WRITEFUNCTION, receive);
  set_option(curl.get(), CURLOPT_WRITEDATA, &received);
  const CURLcode result = libcurl().easy_perform(curl.get());
  if (result == CURLE_WRITE_ERROR || result == CURLE_FILESIZE_EXCEEDED) {
    refuse(concat("the file has more than ", limits.bytes, " bytes"));
  }
  if (result != CURLE_OK) refuse(concat("nothing came from it (", libcurl().easy_strerror(result), ")"));
  long status = 0;
  libcurl().easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &status);
  char* location = nullptr;
  libcurl().easy_getinfo(curl.get(), CURLINFO_REDIRECT_URL, &location);
  if (location) return {{}, location};
  if (status != 200) refuse(concat("its server answered with status ", status));
  return {std::move(received.bytes), {}};
}

// Fetching takes a handler's thread: slow hosts must leave some for other requests.
class FetchSlot {
 public:
  FetchSlot() {
    if (++taken() <= kMost) return;
    --taken();
    Refusal refusal(503, "too many pictures are being fetched at the moment; try again");
    refusal.retry_after = 5;
    throw refusal;
  }
  ~FetchSlot() { --taken(); }
  FetchSlot(const FetchSlot&) = delete;

 private:
  static constexpr int kMost = 3;
  static std::atomic<int>& taken() {
    static std::atomic<int> count{0};
    return count;
  }
};

}  // namespace

std::string fetch_host(const std::string& text) {
  const size_t bracket = text.find(']');
  const size_t colon = text.find(':', bracket == std::string::npos ? 0 : bracket);
  std::string host = lower(text.substr(0, colon)), port = colon == std::string::npos ? "443" : text.substr(colon + 1);
  const bool v6 = host.starts_with('[') && host.ends_with(']');
  if (v6) host = host.substr(1, host.size() - 2);
  const char* letters = v6 ? "0123456789abcdef:." : "0123456789abcdefghijklmnopqrstuvwxyz-._";
  const bool host_fits = !host.empty() && host.find_first_not_of(letters) == std::string::npos;
  const bool port_fits = !port.empty() && port.size() <= 5 && port.find_first_not_of("0123456789") == std::string::npos;
  if (!host_fits || !port_fits) {
    fail(ErrorKind::usage, "'", text, "' should be a host that pictures are fetched from: HOST, or HOST:PORT");
  }
  return host + ":" + port;
}

bool is_public_address(const std::string& address) {
  uint8_t bytes[16];
  if (::inet_pton(AF_INET, address.c_str(), bytes) == 1) return public_v4(bytes);
  if (::inet_pton(AF_INET6, address.c_str(), bytes) == 1) return public_v6(bytes);
  return false;
}

std::string fetch_picture(const std::string& url, const FetchSources& sources, const FetchLimits& limits) {
  const FetchSlot slot;
  std::string next = url;
  for (int hop = 0; hop <= limits.redirects; ++hop) {
    Hop answer = get(understand(next), sources, limits);
    if (answer.location.empty()) return std::move(answer.bytes);
    next = answer.location;
  }
  refuse(concat("it leads to more than ", limits.redirects, " redirects"));
}

}  // namespace glmimage::serve
