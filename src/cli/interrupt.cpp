#include "cli/interrupt.h"

#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <mutex>
#include <string>
#include <thread>

namespace glmimage::cli {
namespace {

std::atomic<bool> flag{false};
int wake_pipe[2] = {-1, -1};
std::mutex partial_mutex;
std::string partial_file;

extern "C" void on_signal(int) {
  flag.store(true);
  const char byte = 1;
  if (wake_pipe[1] >= 0) (void)!::write(wake_pipe[1], &byte, 1);
}

// One matrix product of a large model can take longer than a second, and nothing can interrupt it from inside.
void leave_when_signalled() {
  char byte = 0;
  while (::read(wake_pipe[0], &byte, 1) < 0) {
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(700));
  std::lock_guard lock(partial_mutex);
  if (!partial_file.empty()) ::unlink(partial_file.c_str());
  static const char message[] = "glm-image: cancelled\n";
  (void)!::write(STDERR_FILENO, message, sizeof message - 1);
  ::_exit(130);
}

}  // namespace

const std::atomic<bool>& interrupted() { return flag; }

void watch_interrupts(Patience patience) {
  if (patience == Patience::brief && ::pipe(wake_pipe) == 0) std::thread(leave_when_signalled).detach();
  struct sigaction action = {};
  action.sa_handler = on_signal;
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
}

void guard_partial_file(const std::filesystem::path& file) {
  std::lock_guard lock(partial_mutex);
  partial_file = file.string();
}

}  // namespace glmimage::cli
