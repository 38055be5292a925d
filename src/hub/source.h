#pragma once

#include <string>
#include <vector>

#include "hub/http_text.h"
#include "hub/listing.h"
#include "hub/retry.h"

namespace glmimage::hub {

enum class HubKind { huggingface, modelscope, url };

// Where files come from, with whose right.
struct Source {
  HubKind kind = HubKind::huggingface;
  std::string endpoint;        // "https://huggingface.co"; of `url`: the address itself
  std::string id;              // "zai-org/GLM-Image"; of `url`: empty
  std::string revision;        // of `url`: empty
  std::string token;           // a secret; empty: none
  std::string token_variable;  // which is said to hold it; empty: this place takes none
  std::string warning;         // for the user; empty: none

  // Authorization and Cookie.
  std::vector<std::string> secret_headers() const;
  Asked asked(const std::string& what) const;
};

struct SourceRequest {
  std::string model;  // ORG/NAME, a page of one of the two hubs, or any http(s) address
  std::string from =
      "huggingface";     // "huggingface", "modelscope", or the address of a mirror that answers as the first
  std::string revision;  // branch, tag or commit; empty: the hub's main branch
};

// Reads HF_ENDPOINT, HF_TOKEN, MODELSCOPE_ENDPOINT and MODELSCOPE_API_TOKEN. A token goes to the hub it is for, or to
// the endpoint its hub's variable names, over https or to this machine. Throws ErrorKind::usage for a bad name,
// address, revision or token.
Source find_source(const SourceRequest& request);

// All files of a source. Throws as get_text() does, and ErrorKind::io for an answer that cannot be understood. Names
// are not checked yet: check_file_names().
Listing list_files(HttpClient& client, const Source& source, const RetryOptions& retries, const Cancelled& cancelled);

}  // namespace glmimage::hub
