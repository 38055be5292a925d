#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "hub/http.h"
#include "hub/listing.h"
#include "hub/progress.h"
#include "hub/retry.h"
#include "hub/source.h"

namespace glmimage::hub {

struct FetchOptions {
  int parallel = 8;                         // transfers at once
  int64_t piece_bytes = int64_t{64} << 20;  // large files are asked for in ranges of this size, side by side
  RetryOptions retries;
};

struct FetchedFile {
  RemoteFile file;      // its size known by now
  int64_t fetched = 0;  // bytes that came in this run, those that came twice counted twice
  int64_t resumed = 0;  // bytes that an earlier run had left
};

// What is fetched and where to.
struct FetchTask {
  std::filesystem::path folder;
  std::vector<RemoteFile> files;  // names already checked
  std::string commit;             // Listing::commit
};

// Fetches files side by side, each as Part keeps it; a file gets its name when all of it is there, on the disk and has
// the digest it was listed with. `done` is called for each, on the calling thread. When something fails for good, or
// the user stops, what came is noted down and kept. Throws as failure() does; ErrorKind::io for files that have another
// content than listed, twice; ErrorKind::cancelled.
void fetch_files(HttpClient& client, const Source& source, const FetchTask& task, const FetchOptions& options,
                 PullProgress& progress, const std::function<void(const FetchedFile&)>& done);

}  // namespace glmimage::hub
