#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <string>

#include "cli/terminal_progress.h"
#include "hub/progress.h"

namespace glmimage::cli {

// A pull on stderr: on a terminal one redrawn line, "3/17 files  1.2 GiB/35.0 GiB  90.0 MiB/s  6 min left"; elsewhere
// such a line every ten seconds. Retries and warnings each on a line of their own. Cancelled by cli::interrupted().
class PullTerminalProgress : public hub::PullProgress {
 public:
  explicit PullTerminalProgress(TerminalProgress::Style style) : style_(style) {}

  void report(const hub::PullStatus& status) override;
  void note(const std::string& sentence) override;
  bool cancelled() const override;
  void finish_line();

 private:
  using Clock = std::chrono::steady_clock;
  struct Sample {
    Clock::time_point time;
    int64_t fetched;
  };
  // Bytes a second over the last ten seconds; 0: not known yet.
  double rate(int64_t fetched, Clock::time_point now);
  std::string describe(const hub::PullStatus& status, Clock::time_point now);

  TerminalProgress::Style style_;
  bool line_open_ = false;
  std::deque<Sample> samples_;
  Clock::time_point last_drawn_;
};

// "42 s", "6 min", "2 h 10 min".
std::string human_duration(double seconds);

}  // namespace glmimage::cli
