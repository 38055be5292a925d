#include "core/threads.h"

#include <ATen/Parallel.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"

namespace glmimage {
namespace {

namespace fs = std::filesystem;

constexpr int kMaxThreads = 4096;

// The CPUs this process may run on; empty when the system does not say.
std::vector<int> allowed_cpus() {
  for (int capacity = 1024; capacity <= 1 << 20; capacity *= 4) {  // the call fails while the set is too small
    cpu_set_t* set = CPU_ALLOC(capacity);
    const size_t bytes = CPU_ALLOC_SIZE(capacity);
    std::vector<int> cpus;
    const bool ok = set && ::sched_getaffinity(0, bytes, set) == 0;
    for (int cpu = 0; ok && cpu < capacity; ++cpu) {
      if (CPU_ISSET_S(cpu, bytes, set)) cpus.push_back(cpu);
    }
    if (set) CPU_FREE(set);
    if (ok) return cpus;
  }
  return {};
}

// Distinct (package, core) pairs among the allowed CPUs; a CPU whose place is unknown counts as a core of its own.
int physical_cores(const fs::path& root) {
  std::set<std::pair<int, int>> cores;
  int unknown = 0;
  for (int cpu : allowed_cpus()) {
    const fs::path topology = root / "sys/devices/system/cpu" / ("cpu" + std::to_string(cpu)) / "topology";
    int package = 0, core = 0;
    if (std::ifstream(topology / "physical_package_id") >> package && std::ifstream(topology / "core_id") >> core) {
      cores.emplace(package, core);
    } else {
      ++unknown;
    }
  }
  const int count = static_cast<int>(cores.size()) + unknown;
  return count > 0 ? count : std::max(1, static_cast<int>(::sysconf(_SC_NPROCESSORS_ONLN)));
}

// cpu.max of control groups v2: "max 100000" or "150000 100000".
std::optional<double> quota_v2(const fs::path& file) {
  std::ifstream stream(file);
  double quota = 0, period = 0;
  if (stream >> quota >> period && quota > 0 && period > 0) return quota / period;
  return std::nullopt;
}

std::optional<double> quota_v1(const fs::path& folder) {
  double quota = 0, period = 0;
  if (std::ifstream(folder / "cpu.cfs_quota_us") >> quota && std::ifstream(folder / "cpu.cfs_period_us") >> period &&
      quota > 0 && period > 0) {
    return quota / period;
  }
  return std::nullopt;
}

// The tightest quota, in CPUs, of this process's control group and the groups above it.
std::optional<double> cpu_quota(const fs::path& root) {
  const fs::path mount = root / "sys/fs/cgroup";
  std::optional<double> tightest;
  auto take = [&](std::optional<double> quota) {
    if (quota && (!tightest || *quota < *tightest)) tightest = quota;
  };
  take(quota_v2(mount / "cpu.max"));
  take(quota_v1(mount / "cpu"));
  std::ifstream groups(root / "proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    if (line.rfind("0::/", 0) != 0) continue;
    for (fs::path group = line.substr(4); !group.empty(); group = group.parent_path()) {
      take(quota_v2(mount / group / "cpu.max"));
    }
  }
  return tightest;
}

}  // namespace

int default_threads(const fs::path& root) {
  const int cores = physical_cores(root);
  const std::optional<double> quota = cpu_quota(root);
  return quota ? std::clamp(static_cast<int>(std::lround(*quota)), 1, cores) : cores;
}

void set_threads(int threads) {
  if (threads < 0 || threads > kMaxThreads) {
    fail(ErrorKind::usage, "expected 0 to ", kMaxThreads, " threads, not ", threads);
  }
  if (threads == 0) {
    if (std::getenv("OMP_NUM_THREADS")) return;  // LibTorch follows it by itself
    threads = default_threads();
  }
  at::set_num_threads(threads);
}

int thread_count() { return at::get_num_threads(); }

}  // namespace glmimage
