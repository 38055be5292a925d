#pragma once

#include <cstdint>
#include <string>

namespace glmimage::hub {

enum class PullPhase {
  list,   // asking what there is
  check,  // reading what is there already
  fetch,
};

struct PullStatus {
  PullPhase phase = PullPhase::list;
  int64_t done = 0, total = 0;  // bytes; of `fetch`: on the disk, earlier runs' among them
  int64_t fetched = 0;          // bytes that came over the network in this run
  int64_t files_done = 0, files = 0;
};

// Told how a pull goes, on the thread that pulls, and asked whether to stop, on any thread.
class PullProgress {
 public:
  virtual ~PullProgress() = default;
  virtual void report(const PullStatus&) {}          // about ten times a second
  virtual void note(const std::string& sentence) {}  // a retry, a warning
  virtual bool cancelled() const { return false; }
};

}  // namespace glmimage::hub
