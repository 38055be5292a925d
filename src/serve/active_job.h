#pragma once

#include <atomic>
#include <chrono>
#include <mutex>
#include <string>
#include <vector>

#include "pipeline/progress.h"
#include "serve/event_hub.h"
#include "serve/job_store.h"

namespace glmimage::serve {

// A job while a worker draws it: what the drawing thread says of it and the heartbeat thread reads, and the reverse.
class ActiveJob {
 public:
  // `hub` and `hand_back` outlive it; `hand_back` is set when the worker is to let go of everything.
  ActiveJob(Claim claim, EventHub& hub, const std::atomic<bool>& hand_back);

  const Job& job() const { return claim_.job; }
  const Lease& lease() const { return claim_.lease; }
  const std::vector<int64_t>& missing() const { return missing_; }  // pictures no earlier attempt finished

  // From the heartbeat's answer.
  void set_cancelled() { cancelled_ = true; }
  void set_lost() { lost_ = true; }
  bool cancelled() const { return cancelled_; }
  bool lost() const { return lost_; }
  bool stopped() const { return cancelled_ || lost_ || hand_back_; }  // the pipeline gives up at its next step

  JobProgress progress() const;
  void report(int64_t index, Stage stage, int64_t done, int64_t total);
  void add_partial(const PartialPicture& partial, std::string bytes);
  // The drawing thread's: a picture is stored; and whether the next one makes the job whole.
  void add_kept(const JobPicture& picture);
  bool completed_by_one() const { return kept_ + 1 == missing_.size(); }
  void tell_state(JobState state, const std::optional<JobError>& error = {}) const;

  bool concluded = false;  // the drawing thread's: ended, failed or handed back

 private:
  JobEvent event(JobEvent::Kind kind) const;

  Claim claim_;
  EventHub& hub_;
  const std::atomic<bool>& hand_back_;
  std::vector<int64_t> missing_;
  size_t kept_ = 0;  // of them
  std::atomic<bool> cancelled_ = false, lost_ = false;
  mutable std::mutex mutex_;
  JobProgress progress_;
  std::chrono::steady_clock::time_point told_ = {};  // when progress was published last
};

// One picture's way through the pipeline.
class PictureProgress : public Progress {
 public:
  PictureProgress(ActiveJob& job, int64_t index) : job_(job), index_(index) {}
  void report(Stage stage, int64_t done, int64_t total) override { job_.report(index_, stage, done, total); }
  bool cancelled() const override { return job_.stopped(); }

 private:
  ActiveJob& job_;
  int64_t index_;
};

}  // namespace glmimage::serve
