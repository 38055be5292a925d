#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "core/certificate_trust.h"

namespace glmimage::serve {

// From where pictures may be fetched.
struct FetchSources {
  bool public_hosts = false;       // any host all of whose addresses are public
  std::vector<std::string> named;  // whatever their addresses are, as fetch_host spells them
  CertificateTrust trust = {};
  bool any() const { return public_hosts || !named.empty(); }
};

// "HOST" or "HOST:PORT" (an IPv6 address in brackets) as "host:port", in lower case; 443 where none is given. Throws
// ErrorKind::usage.
std::string fetch_host(const std::string& text);

struct FetchLimits {
  uint64_t bytes = 50'000'000;
  std::chrono::milliseconds time = std::chrono::seconds(20);  // of one hop, from the first byte out to the last one in
  int redirects = 3;
};

// Gets a picture from https://…, for requests that name one by its URL. The host is looked up here, every address of it
// must be a public one unless the host is named in `sources`, and the connection goes to an address that was checked:
// neither a name that changes its answer nor a redirect leads inside. Proxies of the environment are not used. Throws
// Refusal (400) for any URL that does not lead to at most limits.bytes bytes, 503 while three others are being fetched;
// messages tell nothing of what answers inside a network.
std::string fetch_picture(const std::string& url, const FetchSources& sources, const FetchLimits& limits = {});

// Whether an address ("10.0.0.1", "::1") may be asked by a stranger's wish: not loopback, private, link-local,
// multicast, reserved or a translation of such a one. False for what is no address.
bool is_public_address(const std::string& address);

}  // namespace glmimage::serve
