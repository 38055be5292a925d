#include "support/process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <thread>

extern char** environ;

namespace glmimage::test {
namespace {

[[noreturn]] void give_up(const char* what) {
  throw std::runtime_error(std::string(what) + ": " + std::strerror(errno));
}

int memory_file(const char* name, const std::string& content = {}) {
  const int fd = ::memfd_create(name, MFD_CLOEXEC);
  if (fd < 0) give_up("memfd_create");
  for (size_t done = 0; done < content.size();) {
    const ssize_t n = ::write(fd, content.data() + done, content.size() - done);
    if (n < 0) give_up("write");
    done += static_cast<size_t>(n);
  }
  ::lseek(fd, 0, SEEK_SET);
  return fd;
}

std::string read_all(int fd) {
  struct stat info = {};
  if (::fstat(fd, &info) != 0) give_up("fstat");
  std::string text(static_cast<size_t>(info.st_size), '\0');
  const ssize_t n = ::pread(fd, text.data(), text.size(), 0);
  text.resize(n < 0 ? 0 : static_cast<size_t>(n));
  return text;
}

std::vector<std::string> environment_of(const ProcessOptions& options) {
  std::vector<std::string> out;
  for (char** entry = environ; *entry; ++entry) {
    const std::string text = *entry;
    if (options.environment.count(text.substr(0, text.find('='))) == 0) out.push_back(text);
  }
  for (const auto& [name, value] : options.environment) {
    if (!value.empty()) out.push_back(name + "=" + value);
  }
  return out;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (std::string& text : texts) out.push_back(text.data());
  out.push_back(nullptr);
  return out;
}

// Between fork and exec: system calls only.
[[noreturn]] void become(char** argv, char** env, const ProcessOptions& options, int in, int out, int err) {
  ::dup2(in, 0);
  ::dup2(out, 1);
  ::dup2(err, 2);
  if (!options.folder.empty() && ::chdir(options.folder.c_str()) != 0) ::_exit(126);
  if (options.file_size_limit) {
    const rlimit limit = {options.file_size_limit, options.file_size_limit};
    if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) ::_exit(126);
  }
  ::execve(argv[0], argv, env);
  ::_exit(127);
}

}  // namespace

Process::Process(const ProcessOptions& options) {
  std::vector<std::string> arguments = options.arguments, environment = environment_of(options);
  const std::vector<char*> argv = pointers(arguments), env = pointers(environment);
  const int in = memory_file("stdin", options.input);
  out_ = memory_file("stdout");
  err_ = memory_file("stderr");
  began_ = Clock::now();
  deadline_ = began_ + options.limit;
  pid_ = ::fork();
  if (pid_ == 0) become(const_cast<char**>(argv.data()), const_cast<char**>(env.data()), options, in, out_, err_);
  ::close(in);
  if (pid_ < 0) give_up("fork");
}

Process::~Process() {
  if (pid_ > 0 && !reaped_) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, &status_, 0);
  }
  ::close(out_);
  ::close(err_);
}

bool Process::ended() {
  if (!reaped_) reaped_ = ::waitpid(pid_, &status_, WNOHANG) == pid_;
  return reaped_;
}

bool Process::wait_for_error_text(const std::string& text) {
  while (read_all(err_).find(text) == std::string::npos) {
    if (ended() || Clock::now() > deadline_) return read_all(err_).find(text) != std::string::npos;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

std::string Process::error_text() const { return read_all(err_); }

std::string Process::environment() const {
  std::ifstream file("/proc/" + std::to_string(pid_) + "/environ", std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

int64_t Process::peak_of(const std::string& field) {
  int64_t peak = 0;
  while (!ended() && Clock::now() < deadline_) {
    std::ifstream status("/proc/" + std::to_string(pid_) + "/status");
    for (std::string line; std::getline(status, line);) {
      if (!line.starts_with(field + ":")) continue;
      peak = std::max<int64_t>(peak, 1024 * std::stoll(line.substr(field.size() + 1)));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return peak;
}

void Process::send(int signal) {
  if (!ended()) ::kill(pid_, signal);
}

ProcessResult Process::wait() {
  ProcessResult result;
  while (!ended()) {
    if (Clock::now() > deadline_ && !result.timed_out) {
      result.timed_out = true;
      ::kill(pid_, SIGKILL);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  result.seconds = std::chrono::duration<double>(Clock::now() - began_).count();
  if (WIFEXITED(status_)) result.exit_code = WEXITSTATUS(status_);
  if (WIFSIGNALED(status_)) result.signal = WTERMSIG(status_);
  result.out = read_all(out_);
  result.err = read_all(err_);
  return result;
}

ProcessResult run_process(const ProcessOptions& options) { return Process(options).wait(); }

}  // namespace glmimage::test
