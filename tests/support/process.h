#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace glmimage::test {

struct ProcessOptions {
  std::vector<std::string> arguments;              // [0] is the program's path
  std::map<std::string, std::string> environment;  // added to the test's own; an empty value removes the variable
  std::string input;                               // standard input
  std::string folder;                              // working folder; empty: the test's own
  std::chrono::milliseconds limit = std::chrono::minutes(3);  // killed after that
  uint64_t file_size_limit = 0;                               // RLIMIT_FSIZE in bytes, as a disk that fills up; 0: none
};

struct ProcessResult {
  int exit_code = -1;  // -1 when a signal ended it
  int signal = 0;
  bool timed_out = false;
  double seconds = 0;  // from start to end, wall clock
  std::string out, err;
};

// A running child. Output goes to memory files, so it never blocks. Throws std::runtime_error when the system refuses.
class Process {
 public:
  explicit Process(const ProcessOptions& options);
  ~Process();  // kills a child nobody waited for
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  // Until standard error holds `text`; false when the child ended, or the time limit passed, without it.
  bool wait_for_error_text(const std::string& text);
  std::string error_text() const;  // what it wrote there so far
  void send(int signal);
  // Until the child ends: the most that a line of /proc/<pid>/status ("RssAnon") said, in bytes, looked at every
  // millisecond.
  int64_t peak_of(const std::string& field);
  std::string environment() const;  // as the system shows it: NAME=value, each ended by a zero byte
  ProcessResult wait();

 private:
  bool ended();  // collects the exit status once

  using Clock = std::chrono::steady_clock;
  pid_t pid_ = -1;
  int out_ = -1, err_ = -1, status_ = 0;
  bool reaped_ = false;
  Clock::time_point began_, deadline_;
};

ProcessResult run_process(const ProcessOptions& options);

}  // namespace glmimage::test
