#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "hub/http_text.h"
#include "hub/listing.h"
#include "hub/source.h"

// How each kind of place is asked for its files, and what they share in reading the answers.
namespace glmimage::hub {

struct ListingTools {
  HttpClient& client;
  const Source& source;
  const RetryOptions& retries;
  const Cancelled& cancelled;

  TextAnswer get(const std::string& url, const std::string& what) const;
};

// GET /api/models/ID/revision/REVISION for the commit, /api/models/ID/tree/COMMIT for its files, page by page.
Listing list_huggingface(const ListingTools& tools);
// GET /api/v1/models/ID/repo/files.
Listing list_modelscope(const ListingTools& tools);
// A single file, or (with a slash at the end) a folder with a list SHA256SUMS as sha256sum writes it.
Listing list_url(const ListingTools& tools);

// An answer that is not what the interface promises. Throws ErrorKind::io.
[[noreturn]] void reject_listing(const std::string& url, const std::string& why);
nlohmann::json parse_listing(const std::string& url, const std::string& body);
std::string text_in(const nlohmann::json& object, const char* field);  // empty: not there, or no text
int64_t size_in(const nlohmann::json& object, const char* field);      // -1: not there, or no size
// Lower-case hex of so many digits; empty when it is not.
std::string hex_of(const std::string& text, size_t digits);

}  // namespace glmimage::hub
