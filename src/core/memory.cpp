#include "core/memory.h"

#include <malloc.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <string>

namespace glmimage {
namespace {

// "name value" or "name: value kB" of one line of a file of the system; 0 where there is no such line.
int64_t field(const char* file, const std::string& name) {
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    std::string key, unit;
    int64_t value = 0;
    if (!(words >> key >> value) || (key != name && key != name + ":")) continue;
    return words >> unit && unit == "kB" ? value * 1024 : value;
  }
  return 0;
}

}  // namespace

int64_t peak_resident_bytes() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<int64_t>(usage.ru_maxrss) * 1024;
}

int64_t available_memory_bytes() {
  int64_t bytes = static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE);
  std::ifstream limit("/sys/fs/cgroup/memory.max");
  int64_t value = 0;
  if (limit >> value) bytes = std::min(bytes, value);
  return bytes;
}

int64_t free_memory_bytes() {
  int64_t bytes = field("/proc/meminfo", "MemAvailable");
  if (bytes == 0) bytes = available_memory_bytes();
  std::ifstream limit_file("/sys/fs/cgroup/memory.max"), used_file("/sys/fs/cgroup/memory.current");
  int64_t limit = 0, used = 0;
  if (limit_file >> limit && used_file >> used) {
    const char* statistics = "/sys/fs/cgroup/memory.stat";
    const int64_t files = field(statistics, "inactive_file") + field(statistics, "active_file");
    bytes = std::min(bytes, std::max<int64_t>(0, limit - used + files));
  }
  return bytes;
}

void read_ahead(const void* data, size_t bytes) {
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto first = reinterpret_cast<uintptr_t>(data) / page * page;
  const auto end = reinterpret_cast<uintptr_t>(data) + bytes;
  if (bytes > 0) madvise(reinterpret_cast<void*>(first), end - first, MADV_WILLNEED);
}

void keep_freed_memory() {
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, -1);
}

void return_freed_memory() {
  mallopt(M_MMAP_THRESHOLD, 256 << 10);  // set by hand, it no longer grows with what is freed
  mallopt(M_TRIM_THRESHOLD, 1 << 20);
}

}  // namespace glmimage
