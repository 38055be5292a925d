#include "serve/doors.h"

#include <algorithm>
#include <boost/asio/ip/address.hpp>

#include "serve/refusal.h"

namespace glmimage::serve {
namespace {

// "host:port" -> "host", "[::1]:80" -> "::1".
std::string without_port(const std::string& host) {
  if (host.starts_with('[')) return host.substr(1, host.find(']') - 1);
  return host.substr(0, host.rfind(':'));
}

bool is_own_name(const std::string& host, const ServiceOptions& options) {
  std::string name = without_port(host);
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
  boost::system::error_code no_address;
  boost::asio::ip::make_address(name, no_address);
  if (!no_address || name == "localhost") return true;  // an address is not a name somebody else can point here
  return std::find(options.host_names.begin(), options.host_names.end(), name) != options.host_names.end();
}

bool is_allowed_origin(const std::string& origin, const ServiceOptions& options) {
  return std::find(options.origins.begin(), options.origins.end(), origin) != options.origins.end();
}

std::string bearer(const Request& request) {
  const std::string& value = request.header("authorization");
  constexpr std::string_view kScheme = "bearer ";
  if (value.size() < kScheme.size()) return {};
  std::string scheme = value.substr(0, kScheme.size());
  std::transform(scheme.begin(), scheme.end(), scheme.begin(), [](unsigned char c) { return std::tolower(c); });
  return scheme == kScheme ? value.substr(kScheme.size()) : std::string();
}

}  // namespace

void check_key(Request& request, const Route& route, Services& services) {
  if (!services.options.need_keys || route.door == Door::open) return;
  const std::string secret = bearer(request);
  if (secret.empty()) throw Refusal(401, "an API key is needed: Authorization: Bearer gi_…", "", "missing_api_key");
  const std::optional<ApiKey> key = services.keys.authenticate(secret);
  if (!key) throw Refusal(401, "this API key is not known here, or was revoked", "", "invalid_api_key");
  request.owner = key->id;
  request.owner_share = key->limits.queue_share;
  if (const int64_t wait = services.keys.admit(*key); wait > 0) {
    Refusal refusal(429, concat("this key may ask ", key->limits.requests_per_minute, " times a minute"));
    refusal.retry_after = wait;
    throw refusal;
  }
}

void check_browser(const Request& request, const ServiceOptions& options) {
  if (options.need_keys) return;
  const std::string& host = request.header("host");
  if (!host.empty() && !is_own_name(host, options)) {
    throw Refusal(421, concat("this server does not go by the name '", host.substr(0, 200), "' (--host-name)"));
  }
  const std::string& origin = request.header("origin");
  if (origin.empty() || is_allowed_origin(origin, options)) return;
  const size_t scheme = origin.find("://");
  if (scheme == std::string::npos || origin.substr(scheme + 3) != host) {
    throw Refusal(403, "a page of another origin may not ask this server (--origin)", "", "origin_not_allowed");
  }
}

void add_common_headers(Response& response, const Request& request, const ServiceOptions& options) {
  auto& headers = response.headers;
  headers.emplace_back("X-Content-Type-Options", "nosniff");
  headers.emplace_back("X-Frame-Options", "DENY");
  headers.emplace_back("Referrer-Policy", "no-referrer");
  headers.emplace_back("Cross-Origin-Opener-Policy", "same-origin");
  headers.emplace_back("Content-Security-Policy",
                       response.content_type.starts_with("text/html")
                           ? "default-src 'self'; img-src 'self' data: blob:; style-src 'self'; script-src 'self'; "
                             "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
                           : "default-src 'none'; frame-ancestors 'none'");
  if (request.over_tls) headers.emplace_back("Strict-Transport-Security", "max-age=31536000");
  const std::string& origin = request.header("origin");
  if (!options.origins.empty()) headers.emplace_back("Vary", "Origin");
  if (origin.empty() || !is_allowed_origin(origin, options)) return;
  headers.emplace_back("Access-Control-Allow-Origin", origin);
  headers.emplace_back("Access-Control-Expose-Headers", "X-Request-Id, X-Job-Id, Retry-After, Location");
}

Response preflight(const Request& request, const std::string& methods, const ServiceOptions& options) {
  Response out;
  out.status = 204;
  out.content_type = "";
  out.headers.emplace_back("Allow", methods);
  if (is_allowed_origin(request.header("origin"), options)) {
    out.headers.emplace_back("Access-Control-Allow-Methods", methods);
    out.headers.emplace_back("Access-Control-Allow-Headers",
                             "Authorization, Content-Type, Idempotency-Key, Last-Event-ID");
    out.headers.emplace_back("Access-Control-Max-Age", "600");
  }
  return out;
}

}  // namespace glmimage::serve
