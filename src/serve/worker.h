#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "serve/blob_store.h"
#include "serve/event_hub.h"
#include "serve/job_store.h"
#include "serve/painter.h"

namespace glmimage::serve {

struct WorkerOptions {
  // The finished picture as the file that is stored, in the request's format (JobRequest::format); what it says about
  // itself is this function's business. Unset: encode_picture.
  std::function<std::string(const Job&, const GenerateRequest&, const GenerateResult&)> encode = {};
  int64_t batch = 1;                                                // pictures handed to the painter together
  std::chrono::milliseconds lease = std::chrono::seconds(30);       // given away that long after the last heartbeat
  std::chrono::milliseconds heartbeat = std::chrono::seconds(1);    // also how old progress seen from elsewhere may be
  std::chrono::milliseconds poll = std::chrono::milliseconds(500);  // for jobs, where nobody tells of new ones
};

// For /metrics and /readyz. Totals since the worker began.
struct WorkerStatus {
  bool busy = false;
  int64_t jobs_done = 0, jobs_failed = 0, jobs_cancelled = 0, pictures = 0, visual_tokens = 0, leases_lost = 0;
  std::map<std::string, double> seconds;  // per stage of the pipeline
  // Of the store or the disk, while it lasts: the worker goes on trying and loses nothing, but draws nothing either.
  std::optional<std::string> trouble;
};

// One thread that claims jobs and draws them, and one that keeps their leases. Pictures are stored one by one as they
// are finished; after a crash only missing ones are drawn, with the same seeds. Faults of a request fail its job;
// faults of the store or the disk hand the job back and are tried again.
class Worker {
 public:
  struct Services {
    JobStore& jobs;
    BlobStore& blobs;
    EventHub& hub;
    Painter& painter;
  };
  // All services outlive it. Begins at once.
  Worker(const Services& services, const WorkerOptions& options = {});
  ~Worker();  // stop(Stop::hand_back)

  enum class Stop {
    after_current,  // the jobs being drawn are finished
    hand_back,      // they go back to the queue within one step; finished pictures stay
  };
  // Claims no more and returns when both threads have ended. May be called again with hand_back from another thread to
  // hurry a stop in progress.
  void stop(Stop how);
  WorkerStatus status() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace glmimage::serve
