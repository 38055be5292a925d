#include "serve/process_identity.h"

#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <fstream>
#include <sstream>

namespace glmimage::serve {
namespace {

std::string first_line(const std::string& file) {
  std::ifstream in(file);
  std::string line;
  std::getline(in, line);
  return line;
}

// Clock ticks from the boot to the start of the process: with it, a process id names one process only.
std::string start_of(pid_t process) {
  const std::string stat = first_line("/proc/" + std::to_string(process) + "/stat");
  const size_t after_name = stat.rfind(')');  // the name may hold blanks and parentheses
  if (after_name == std::string::npos) return {};
  std::istringstream fields(stat.substr(after_name + 1));
  std::string field;
  for (int i = 3; i <= 22; ++i) fields >> field;  // proc(5): field 22 is starttime
  return field;
}

// Processes whose ids this process can see: one machine since one boot, and one container of it.
std::string place() {
  char host[HOST_NAME_MAX + 1] = {}, space[64] = {};
  ::gethostname(host, sizeof host - 1);
  if (::readlink("/proc/self/ns/pid", space, sizeof space - 1) < 0) space[0] = '\0';
  return std::string(host) + "/" + first_line("/proc/sys/kernel/random/boot_id") + "/" + space;
}

}  // namespace

std::string process_identity() { return place() + "/" + std::to_string(::getpid()) + "/" + start_of(::getpid()); }

bool process_is_gone(const std::string& identity) {
  const std::string here = place() + "/";
  if (!identity.starts_with(here)) return false;
  char* end = nullptr;
  const long process = std::strtol(identity.c_str() + here.size(), &end, 10);
  if (process <= 0 || *end != '/') return false;
  if (::kill(static_cast<pid_t>(process), 0) != 0 && errno == ESRCH) return true;
  const std::string start = start_of(static_cast<pid_t>(process));
  return !start.empty() && start != end + 1;  // what cannot be read is not taken for gone
}

}  // namespace glmimage::serve
