#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>

namespace glmimage::train::rl {

// A process that answers lines with lines, over two pipes, in a process group of its own: Ctrl-C is for the run, which
// then saves its state, and whatever the shell started ends with it.
class LineProcess {
 public:
  // Throws ErrorKind::io.
  explicit LineProcess(const std::string& command);
  ~LineProcess();
  LineProcess(const LineProcess&) = delete;
  LineProcess& operator=(const LineProcess&) = delete;

  // Sends `line` and a line end, and waits for the next whole line, which is given without its end. Both sides may
  // write at once: neither waits for the other's pipe. Throws ErrorKind::io when the process has ended or closed its
  // output, when the answer is longer than `limit` bytes, and after `limit_seconds`, when it is also ended.
  std::string ask(const std::string& line, size_t limit, double limit_seconds);

 private:
  using Clock = std::chrono::steady_clock;
  void wait_for(bool writing, Clock::time_point deadline, double seconds);
  bool write_some(const std::string& text, size_t& done);
  bool read_some();
  [[noreturn]] void fail_ended();
  void end();

  std::string command_;
  pid_t pid_ = -1;
  int in_ = -1, out_ = -1;  // we write to in_ and read from out_
  std::string received_;
};

}  // namespace glmimage::train::rl
