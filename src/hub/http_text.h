#pragma once

#include <functional>
#include <string>

#include "hub/http.h"
#include "hub/retry.h"

namespace glmimage::hub {

// Whether the user wants to stop; asked about ten times a second.
using Cancelled = std::function<bool()>;

struct TextRequest {
  std::string url;
  std::vector<std::string> headers;
  Asked asked;
  size_t most_bytes = size_t{64} << 20;
  bool head_only = false;  // leave when the body begins
};

struct TextAnswer {
  HttpHead head;
  std::string body;
};

// A small answer into memory, tried again as Retry says. Nothing else may be under way in the client. Throws as
// failure() does, ErrorKind::io for an answer above `most_bytes`, ErrorKind::cancelled.
TextAnswer get_text(HttpClient& client, const TextRequest& request, const RetryOptions& retries,
                    const Cancelled& cancelled);

}  // namespace glmimage::hub
