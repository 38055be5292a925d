#pragma once

#include <chrono>
#include <string>

#include "pipeline/progress.h"

namespace glmimage::cli {

// Progress on stderr: on a terminal one line a stage, redrawn at most ten times a second, with rate and time left;
// elsewhere one plain line when a stage ends. Cancelled by cli::interrupted().
class TerminalProgress : public Progress {
 public:
  enum class Style { silent, plain, terminal };
  explicit TerminalProgress(Style style) : style_(style) {}
  // terminal when stderr is one, else plain.
  static Style style_of_stderr();

  void report(Stage stage, int64_t done, int64_t total) override;
  bool cancelled() const override;
  // The same for work that is no stage of a request: "pictures 3/20  0.4 pictures/s  42 s left".
  void count(const char* what, int64_t done, int64_t total);
  // Ends a redrawn line, so that other text can follow.
  void finish_line();

 private:
  using Clock = std::chrono::steady_clock;
  void draw(const std::string& name, const char* unit, int64_t done, int64_t total);

  Style style_;
  bool line_open_ = false;
  std::string name_;  // of what is under way
  Clock::time_point stage_began_, last_drawn_;
};

}  // namespace glmimage::cli
