#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace glmimage::serve {

struct FetchLimits {
  uint64_t bytes = 50'000'000;
  std::chrono::milliseconds time = std::chrono::seconds(20);  // of one hop, from the first byte out to the last one in
  int redirects = 3;
};

// Gets a picture from https://…, for requests that name one by its URL. The host is looked up here, every address of it
// must be a public one, and the connection goes to an address that was checked: neither a name that changes its answer
// nor a redirect leads inside. Proxies of the environment are not used. Throws Refusal (400) for any URL that does not
// lead to at most limits.bytes bytes, 503 while three others are being fetched; messages tell nothing of what answers
// inside a network.
std::string fetch_picture(const std::string& url, const FetchLimits& limits = {});

// Whether an address ("10.0.0.1", "::1") may be asked by a stranger's wish: not loopback, private, link-local,
// multicast, reserved or a translation of such a one. False for what is no address.
bool is_public_address(const std::string& address);

}  // namespace glmimage::serve
