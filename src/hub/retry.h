#pragma once

#include <chrono>
#include <optional>
#include <stdexcept>
#include <string>

#include "core/error.h"
#include "hub/http.h"

namespace glmimage::hub {

struct RetryOptions {
  int tries = 5;                                                   // without progress, the first among them
  std::chrono::milliseconds first_wait{500}, longest_wait{30000};  // doubled from try to try
  std::chrono::seconds longest_retry_after{300};                   // a server that asks for more is given up
};

// What a server says contradicts itself or what was asked for. Thrown by callbacks; worth another try.
class BadAnswer : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// What was asked for and with which right, for messages.
struct Asked {
  std::string what;            // "model.safetensors from https://…"
  std::string token_variable;  // of the environment: HF_TOKEN; empty: this place takes none
  bool token_sent = false;
};

// Counts the failures of one thing and says how long to wait before the next try.
class Retry {
 public:
  explicit Retry(const RetryOptions& options) : options_(options) {}

  // After a transfer that failed: at least what Retry-After asks for, else a time that doubles, with a random half, so
  // that transfers which failed together do not come back together. nullopt: another try will not help, or none is
  // left.
  std::optional<std::chrono::milliseconds> after(const HttpOutcome& outcome);
  // Something came: failures count from nothing again.
  void progressed() { failures_ = 0; }

 private:
  RetryOptions options_;
  int failures_ = 0;
};

// Retry-After in seconds, from seconds or a date; nullopt: not sent or not understood.
std::optional<std::chrono::seconds> retry_after(const HttpHead& head);

// Whether the answer came whole, with a status below 300.
bool succeeded(const HttpOutcome& outcome);

// The one sentence about a transfer that failed. ErrorKind::usage where the request is at fault (401, 403, 404), else
// ErrorKind::io. An Error thrown by a callback comes back as it was.
Error failure(const HttpOutcome& outcome, const Asked& asked);

// A URL for messages: without user name, password and query, which may hold keys.
std::string shown_url(const std::string& url);

}  // namespace glmimage::hub
