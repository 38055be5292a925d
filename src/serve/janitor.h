#pragma once

#include <chrono>
#include <memory>

#include "serve/blob_store.h"
#include "serve/job_store.h"

namespace glmimage::serve {

struct JanitorOptions {
  Retention retention = {};
  std::chrono::milliseconds blob_grace = std::chrono::hours(1);  // see BlobStore::collect_garbage
  std::chrono::milliseconds interval = std::chrono::minutes(1);
};

// A thread that keeps the store tidy: lost jobs back to the queue, old ones removed, and the blobs nobody refers to.
// Several machines may have one each. A database that refuses is asked again at the next turn.
class Janitor {
 public:
  Janitor(JobStore& jobs, BlobStore& blobs, const JanitorOptions& options);  // the stores outlive it
  ~Janitor();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace glmimage::serve
