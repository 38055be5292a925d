#pragma once

#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/certificate_trust.h"

namespace glmimage::hub {

struct HttpOptions {
  // To connect within, and for the longest time a transfer may stay below 512 bytes a second. Whole seconds.
  std::chrono::seconds timeout{30};
  int connections = 8;  // at once, over all hosts
  CertificateTrust trust = {};
};

// Status line and headers. Names are in lower case; of headers given twice the last counts.
struct HttpHead {
  int status = 0;
  std::map<std::string, std::string> headers;        // of the answer itself
  std::map<std::string, std::string> first_headers;  // of the first hop, where a redirect led elsewhere; else the same

  std::string header(const std::string& name) const;        // empty: not sent
  std::string first_header(const std::string& name) const;  // the same of the first hop
  int64_t length() const;                                   // Content-Length; -1: not sent, or no number
};

// One GET. Callbacks come from HttpClient::run on its thread; what they throw ends this transfer and no other, and
// comes back as HttpOutcome::thrown. They must not call the client.
struct HttpRequest {
  std::string url;  // http or https
  // "Name: value". Authorization and Cookie reach this scheme, host and port alone: redirects elsewhere lose them.
  std::vector<std::string> headers;
  std::function<void(const HttpHead&)> on_head;         // once, before the body
  std::function<void(std::string_view bytes)> on_body;  // as it comes
};

struct HttpOutcome {
  HttpHead head;              // status 0: there was no answer
  std::string fault;          // why the answer did not come whole; empty: it did
  bool lasting = false;       // the fault will not go away by itself: a certificate, a bad URL
  std::exception_ptr thrown;  // by a callback
};

// Transfers side by side on the calling thread, over libcurl. Honours http_proxy, HTTPS_PROXY, ALL_PROXY and NO_PROXY.
// The first of a process has SIGPIPE ignored, unless it is handled already. Follows up to ten redirects, from https to
// https alone. Reads no netrc, keeps no cookies.
class HttpClient {
 public:
  using Id = uint64_t;

  explicit HttpClient(const HttpOptions& options);
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  Id start(HttpRequest request);
  // Ends a transfer without an outcome; its callbacks are not called again.
  void drop(Id id);
  // Moves what there is to move, at most about `wait`, and returns the transfers that ended.
  std::vector<std::pair<Id, HttpOutcome>> run(std::chrono::milliseconds wait);

 private:
  struct Transfer;
  struct Multi;
  std::unique_ptr<Multi> multi_;
};

}  // namespace glmimage::hub
