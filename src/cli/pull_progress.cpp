#include "cli/pull_progress.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "cli/human_bytes.h"
#include "cli/interrupt.h"
#include "core/error.h"

namespace glmimage::cli {
namespace {

constexpr auto kWindow = std::chrono::seconds(10);
constexpr auto kPlainEvery = std::chrono::seconds(10);

}  // namespace

std::string human_duration(double seconds) {
  const auto whole = static_cast<int64_t>(std::ceil(std::min(seconds, 1e9)));
  if (whole < 120) return concat(whole, " s");
  if (whole < 7200) return concat((whole + 59) / 60, " min");
  return concat(whole / 3600, " h ", whole % 3600 / 60, " min");
}

bool PullTerminalProgress::cancelled() const { return interrupted().load(); }

double PullTerminalProgress::rate(int64_t fetched, Clock::time_point now) {
  samples_.push_back({now, fetched});
  while (samples_.size() > 2 && now - samples_[1].time >= kWindow) samples_.pop_front();
  const double seconds = std::chrono::duration<double>(now - samples_.front().time).count();
  return seconds < 0.2 ? 0 : static_cast<double>(fetched - samples_.front().fetched) / seconds;
}

std::string PullTerminalProgress::describe(const hub::PullStatus& status, Clock::time_point now) {
  switch (status.phase) {
    case hub::PullPhase::list: return "asking for the list of files";
    case hub::PullPhase::check:
      return concat("reading what is there: ", status.files_done, "/", status.files, " files");
    case hub::PullPhase::fetch: break;
  }
  std::string out = concat(status.files_done, "/", status.files, " files  ", human_bytes(status.done), "/",
                           human_bytes(status.total));
  const double speed = rate(status.fetched, now);
  if (status.done >= status.total) return out;
  if (speed < 1) return out + "  waiting";
  return out + concat("  ", human_bytes(static_cast<int64_t>(speed)), "/s  ",
                      human_duration(static_cast<double>(status.total - status.done) / speed), " left");
}

void PullTerminalProgress::report(const hub::PullStatus& status) {
  if (style_ == TerminalProgress::Style::silent) return;
  const auto now = Clock::now();
  const std::string text = describe(status, now);
  if (style_ == TerminalProgress::Style::terminal) {
    std::fprintf(stderr, "\r\033[K%s", text.c_str());
    line_open_ = true;
  } else if (status.phase == hub::PullPhase::fetch && now - last_drawn_ >= kPlainEvery) {
    std::fprintf(stderr, "%s\n", text.c_str());
    last_drawn_ = now;
  }
}

void PullTerminalProgress::note(const std::string& sentence) {
  if (style_ == TerminalProgress::Style::silent) return;
  finish_line();
  std::fprintf(stderr, "note: %s\n", sentence.c_str());
}

void PullTerminalProgress::finish_line() {
  if (line_open_) std::fputc('\n', stderr);
  line_open_ = false;
}

}  // namespace glmimage::cli
