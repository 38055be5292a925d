#include "cli/terminal_progress.h"

#include <unistd.h>

#include <cstdio>

#include "cli/interrupt.h"

namespace glmimage::cli {
namespace {

const char* stage_name(Stage stage) {
  switch (stage) {
    case Stage::load: return "load";
    case Stage::references: return "reference pictures";
    case Stage::visual_tokens: return "visual tokens";
    case Stage::glyphs: return "glyphs";
    case Stage::denoise: return "denoise";
    case Stage::decode: return "decode";
  }
  return "";
}

std::string describe(const std::string& name, const char* unit, int64_t done, int64_t total, double seconds) {
  char text[160];
  if (total <= 1) {
    std::snprintf(text, sizeof text, "%s: %.2f s", name.c_str(), seconds);
    return text;
  }
  const double rate = seconds > 0 ? static_cast<double>(done) / seconds : 0;
  int used = std::snprintf(text, sizeof text, "%s %lld/%lld  %.1f %s/s", name.c_str(), static_cast<long long>(done),
                           static_cast<long long>(total), rate, unit);
  std::string out(text, static_cast<size_t>(used));
  if (done == total) {
    std::snprintf(text, sizeof text, "  %.2f s", seconds);
  } else if (rate > 0) {
    std::snprintf(text, sizeof text, "  %.0f s left", static_cast<double>(total - done) / rate);
  } else {
    return out;
  }
  return out + text;
}

}  // namespace

TerminalProgress::Style TerminalProgress::style_of_stderr() {
  return ::isatty(STDERR_FILENO) ? Style::terminal : Style::plain;
}

bool TerminalProgress::cancelled() const { return interrupted().load(); }

void TerminalProgress::report(Stage stage, int64_t done, int64_t total) {
  draw(stage_name(stage), stage == Stage::visual_tokens ? "tokens" : "steps", done, total);
}

void TerminalProgress::count(const char* what, int64_t done, int64_t total) { draw(what, what, done, total); }

void TerminalProgress::draw(const std::string& name, const char* unit, int64_t done, int64_t total) {
  if (style_ == Style::silent) return;
  const auto now = Clock::now();
  if (name != name_ || done == 0) {
    finish_line();
    name_ = name;
    stage_began_ = now;
    last_drawn_ = {};
  }
  const double seconds = std::chrono::duration<double>(now - stage_began_).count();
  const bool last = done >= total;
  if (style_ == Style::plain) {
    if (last) std::fprintf(stderr, "%s\n", describe(name, unit, done, total, seconds).c_str());
    return;
  }
  if (!last && now - last_drawn_ < std::chrono::milliseconds(100)) return;
  last_drawn_ = now;
  std::fprintf(stderr, "\r\033[K%s", describe(name, unit, done, total, seconds).c_str());
  line_open_ = true;
  if (last) finish_line();
}

void TerminalProgress::finish_line() {
  if (line_open_) std::fputc('\n', stderr);
  line_open_ = false;
}

}  // namespace glmimage::cli
