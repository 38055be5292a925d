#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "serve/job.h"

namespace glmimage::serve {

// Something happened to a job.
struct JobEvent {
  enum class Kind {
    progress,  // `progress`
    partial,   // `partial` and its bytes, a PNG
    picture,   // `picture` is stored
    state,     // `state`; the last event of a job has a final one
  };
  Kind kind = Kind::progress;
  std::string job;
  uint64_t number = 0;  // grows with every event of one watcher
  JobState state = JobState::queued;
  JobProgress progress;
  PartialPicture partial;
  JobPicture picture;
  std::optional<JobError> error;             // of state failed
  std::shared_ptr<const std::string> bytes;  // of partial

  bool last() const { return kind == Kind::state && is_final(state); }
};

// Events of the jobs that workers of this process draw, to whoever listens in this process. Publishing never waits.
class EventHub {
 public:
  // What one listener has not read yet. At most `kMostWaiting` events: then the oldest progress goes, then the oldest
  // partial picture; states and pictures always stay.
  class Subscription {
   public:
    // The next event; unset when none came in time.
    std::optional<JobEvent> next(std::chrono::milliseconds limit);

   private:
    friend class EventHub;
    void push(const JobEvent& event);
    std::function<void()> wake_;
    std::mutex mutex_;
    std::condition_variable arrived_;
    std::deque<JobEvent> waiting_;
  };
  static constexpr size_t kMostWaiting = 32;

  // Until the pointer is dropped. `wake` is called after each event, from the publisher's thread, for those who call
  // next without waiting; it must be quick.
  std::shared_ptr<Subscription> subscribe(const std::string& job, std::function<void()> wake = {});
  void publish(const JobEvent& event);
  size_t subscribers() const;  // alive ones

 private:
  mutable std::mutex mutex_;
  std::map<std::string, std::vector<std::weak_ptr<Subscription>>> subscribers_;
};

}  // namespace glmimage::serve
