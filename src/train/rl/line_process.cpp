#include "train/rl/line_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <thread>

#include "core/error.h"

extern char** environ;

namespace glmimage::train::rl {
namespace {

using std::chrono::duration;
using std::chrono::duration_cast;
using std::chrono::milliseconds;

constexpr auto kPatience = std::chrono::seconds(2);  // for a process that was told to end

struct Pipe {
  int read = -1, write = -1;
};

Pipe make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) fail(ErrorKind::io, "no pipe for the reward process: ", std::strerror(errno));
  return {ends[0], ends[1]};
}

void close_end(int& end) {
  if (end >= 0) ::close(end);
  end = -1;
}

pid_t start(const std::string& command, int in, int out) {
  const char* const arguments[] = {"sh", "-c", command.c_str(), nullptr};
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  ::posix_spawnattr_setpgroup(&attributes, 0);
  sigset_t none, pipe;
  ::sigemptyset(&none);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::sigemptyset(&pipe);
  ::sigaddset(&pipe, SIGPIPE);
  ::posix_spawnattr_setsigdefault(&attributes, &pipe);
  pid_t pid = -1;
  const int error = ::posix_spawnp(&pid, "sh", &actions, &attributes, const_cast<char**>(arguments), environ);
  ::posix_spawnattr_destroy(&attributes);
  ::posix_spawn_file_actions_destroy(&actions);
  if (error != 0) fail(ErrorKind::io, "the reward process cannot be started: ", std::strerror(error));
  return pid;
}

// While it lives, a write to a pipe that nobody reads is an error and no signal, in this thread.
class NoPipeSignal {
 public:
  NoPipeSignal() {
    ::sigemptyset(&pipe_);
    ::sigaddset(&pipe_, SIGPIPE);
    ::pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
  }
  ~NoPipeSignal() {
    const timespec now = {};
    while (::sigtimedwait(&pipe_, nullptr, &now) > 0) {
    }
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  NoPipeSignal(const NoPipeSignal&) = delete;
  NoPipeSignal& operator=(const NoPipeSignal&) = delete;

 private:
  sigset_t pipe_, before_;
};

}  // namespace

LineProcess::LineProcess(const std::string& command) : command_(command) {
  Pipe in = make_pipe(), out = make_pipe();
  try {
    pid_ = start(command, in.read, out.write);
  } catch (...) {
    for (int end : {in.read, in.write, out.read, out.write}) ::close(end);
    throw;
  }
  close_end(in.read);
  close_end(out.write);
  in_ = in.write;
  out_ = out.read;
  for (const int end : {in_, out_}) ::fcntl(end, F_SETFL, ::fcntl(end, F_GETFL) | O_NONBLOCK);
}

LineProcess::~LineProcess() {
  close_end(in_);
  close_end(out_);
  if (pid_ < 0) return;
  const auto deadline = Clock::now() + kPatience;
  while (::waitpid(pid_, nullptr, WNOHANG) == 0) {
    if (Clock::now() > deadline) break;
    std::this_thread::sleep_for(milliseconds(5));
  }
  end();  // also what it may have left behind
}

void LineProcess::end() {
  ::kill(-pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

void LineProcess::fail_ended() {
  int status = 0;
  const auto deadline = Clock::now() + kPatience;
  pid_t ended = 0;
  while ((ended = ::waitpid(pid_, &status, WNOHANG)) == 0 && Clock::now() < deadline) {
    std::this_thread::sleep_for(milliseconds(5));
  }
  if (ended == 0) {
    end();
    fail(ErrorKind::io, "the reward process '", command_, "' closed its output");
  }
  ::kill(-pid_, SIGKILL);  // what it may have left behind
  pid_ = -1;
  if (WIFSIGNALED(status)) {
    fail(ErrorKind::io, "the reward process '", command_, "' was ended by signal ", WTERMSIG(status));
  }
  fail(ErrorKind::io, "the reward process '", command_, "' ended with exit code ", WEXITSTATUS(status));
}

void LineProcess::wait_for(bool writing, Clock::time_point deadline, double seconds) {
  pollfd ends[] = {{out_, POLLIN, 0}, {in_, POLLOUT, 0}};
  const auto left = duration_cast<milliseconds>(deadline - Clock::now()).count();
  const int ready = left > 0 ? ::poll(ends, writing ? 2 : 1, static_cast<int>(std::min<int64_t>(left, 1 << 30))) : 0;
  if (ready > 0 || (ready < 0 && errno == EINTR)) return;
  end();
  fail(ErrorKind::io, "the reward process '", command_, "' did not answer within ", seconds,
       " seconds (rl.process_seconds)");
}

// False when nobody reads any more.
bool LineProcess::write_some(const std::string& text, size_t& done) {
  const NoPipeSignal quiet;
  const ssize_t n = ::write(in_, text.data() + done, text.size() - done);
  if (n >= 0) done += static_cast<size_t>(n);
  return n >= 0 || errno == EAGAIN || errno == EINTR;
}

// False at the end of its output.
bool LineProcess::read_some() {
  char bytes[65536];
  const ssize_t n = ::read(out_, bytes, sizeof bytes);
  if (n > 0) received_.append(bytes, static_cast<size_t>(n));
  return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

std::string LineProcess::ask(const std::string& line, size_t limit, double limit_seconds) {
  if (pid_ < 0) fail(ErrorKind::io, "the reward process '", command_, "' has ended");
  const std::string text = line + "\n";
  const auto deadline = Clock::now() + duration_cast<Clock::duration>(duration<double>(limit_seconds));
  for (size_t done = 0;;) {
    const bool writing = done < text.size();
    if (writing && !write_some(text, done)) done = text.size();  // its last words may be there all the same
    if (!read_some()) fail_ended();
    if (const size_t at = received_.find('\n'); at != std::string::npos) {
      std::string answer = received_.substr(0, at);
      received_.erase(0, at + 1);
      return answer;
    }
    if (received_.size() > limit) {
      end();
      fail(ErrorKind::io, "the reward process '", command_, "' wrote ", limit, " bytes without the end of a line");
    }
    wait_for(done < text.size(), deadline, limit_seconds);
  }
}

}  // namespace glmimage::train::rl
