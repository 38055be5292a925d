#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "serve/blob_store.h"
#include "serve/event_hub.h"
#include "serve/job_store.h"

namespace glmimage::serve {

// Follows one job to its end, wherever it is drawn: events of this process from the hub at once, those of other
// machines by asking the store. For one thread (of one HTTP answer).
class JobWatch {
 public:
  // All three outlive it. `poll`: how often the store is asked. `wake`: see EventHub::subscribe.
  JobWatch(const JobStore& jobs, const BlobStore& blobs, EventHub& hub, std::string job,
           std::chrono::milliseconds poll = std::chrono::milliseconds(500), std::function<void()> wake = {});

  // The next event; unset when none came in time or the last one was given. It begins with the job's state and the
  // pictures it has; nothing but progress is left out, nothing is told twice; the last event has a final state, and all
  // pictures come before it. A job that was removed ends as cancelled. Throws ErrorKind::io.
  std::optional<JobEvent> next(std::chrono::milliseconds limit);
  bool finished() const { return finished_; }

 private:
  void ask_store();
  void note(JobEvent event);
  void note_progress(const JobProgress& progress);

  const JobStore& jobs_;
  const BlobStore& blobs_;
  std::string job_;
  std::chrono::milliseconds poll_;
  std::shared_ptr<EventHub::Subscription> subscription_;
  std::chrono::steady_clock::time_point next_poll_ = {};
  std::deque<JobEvent> ready_;
  std::set<int64_t> pictures_;                      // told
  std::set<std::pair<int64_t, int64_t>> partials_;  // told: index, number
  std::optional<JobState> state_;                   // told last
  std::string progress_;                            // told last, as JSON
  uint64_t number_ = 0;
  bool heard_ = false;  // the hub tells of this job, so it is drawn here
  bool finished_ = false;
};

}  // namespace glmimage::serve
