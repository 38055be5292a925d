#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace glmimage::hub {

// A file as a server lists it. What is not known is empty, or -1.
struct RemoteFile {
  std::string name;       // path below the folder, with '/'
  int64_t size = -1;      // bytes
  std::string sha256;     // of the content, lower-case hex
  std::string git_sha1;   // git's name of the content, where there is no sha256
  std::string validator;  // a strong ETag or a date (Last-Modified), where there is neither
  std::string url;

  bool has_digest() const { return !sha256.empty() || !git_sha1.empty(); }
  // Whether bytes fetched now and bytes fetched later are known to be of one content.
  bool can_go_on() const { return size >= 0 && (has_digest() || !validator.empty()); }
};

struct Listing {
  std::string source;    // "huggingface", "modelscope" or "url"
  std::string place;     // the repository's or folder's address, for people
  std::string revision;  // as asked for; empty: the place knows none
  std::string commit;    // what that was; empty: not known
  std::vector<RemoteFile> files;
};

}  // namespace glmimage::hub
