#include "eval/child_process.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

#include "core/error.h"

extern char** environ;

namespace glmimage::eval {
namespace {

// Files in memory instead of pipes: neither side can block on the other, and no signal tells of a reader gone.
class MemoryFile {
 public:
  explicit MemoryFile(const char* name) : fd_(::memfd_create(name, MFD_CLOEXEC)) {
    if (fd_ < 0) fail(ErrorKind::io, "no memory for a file for another program: ", std::strerror(errno));
  }
  ~MemoryFile() { ::close(fd_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  void fill(std::span<const uint8_t> bytes) const {
    for (size_t done = 0; done < bytes.size();) {
      const ssize_t n = ::write(fd_, bytes.data() + done, bytes.size() - done);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) fail(ErrorKind::io, "writing for another program failed: ", std::strerror(errno));
      done += static_cast<size_t>(n);
    }
    ::lseek(fd_, 0, SEEK_SET);
  }
  std::string content() const {
    struct stat info = {};
    if (::fstat(fd_, &info) != 0) return {};
    std::string text(static_cast<size_t>(info.st_size), '\0');
    const ssize_t n = ::pread(fd_, text.data(), text.size(), 0);
    text.resize(n < 0 ? 0 : static_cast<size_t>(n));
    return text;
  }
  int fd() const { return fd_; }

 private:
  int fd_;
};

// The child's process number, or nothing when there is no such program.
std::optional<pid_t> start(const std::vector<std::string>& arguments, int in, int out) {
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
  ::posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  pid_t pid = -1;
  const int error = ::posix_spawnp(&pid, argv[0], &actions, nullptr, argv.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  if (error == ENOENT || error == EACCES) return {};
  if (error != 0) fail(ErrorKind::io, arguments[0], ": cannot be started: ", std::strerror(error));
  return pid;
}

}  // namespace

std::optional<ChildResult> run_child(const std::vector<std::string>& arguments, std::span<const uint8_t> input,
                                     const std::function<bool()>& cancelled) {
  constexpr auto kLimit = std::chrono::minutes(1);
  const MemoryFile in("input"), out("output");
  in.fill(input);
  const std::optional<pid_t> pid = start(arguments, in.fd(), out.fd());
  if (!pid) return {};
  const auto began = std::chrono::steady_clock::now();
  int status = 0;
  while (::waitpid(*pid, &status, WNOHANG) == 0) {
    const bool stop = cancelled && cancelled(), late = std::chrono::steady_clock::now() - began > kLimit;
    if (stop || late) {
      ::kill(*pid, SIGKILL);
      ::waitpid(*pid, &status, 0);
      if (stop) fail(ErrorKind::cancelled, "the request was cancelled");
      fail(ErrorKind::io, arguments[0], ": took more than a minute and was ended");
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return ChildResult{WIFEXITED(status) ? WEXITSTATUS(status) : -1, out.content()};
}

}  // namespace glmimage::eval
