#include "core/threads.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <fstream>
#include <string>

#include "core/error.h"
#include "support/goldens.h"

namespace glmimage {
namespace {

namespace fs = std::filesystem;

void write(const fs::path& file, const std::string& text) {
  fs::create_directories(file.parent_path());
  std::ofstream(file) << text;
}

int allowed() {
  cpu_set_t set;
  return ::sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}

TEST(Threads, DefaultFitsThisMachine) {
  EXPECT_GE(default_threads(), 1);
  EXPECT_LE(default_threads(), allowed());
}

TEST(Threads, CountsCoresNotHyperThreads) {
  const fs::path root = test::scratch_folder();
  EXPECT_EQ(default_threads(root), allowed());  // no topology: each CPU is a core
  cpu_set_t set;
  ASSERT_EQ(::sched_getaffinity(0, sizeof set, &set), 0);
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &set)) continue;
    const fs::path topology = root / "sys/devices/system/cpu" / ("cpu" + std::to_string(cpu)) / "topology";
    write(topology / "physical_package_id", "0\n");
    write(topology / "core_id", "0\n");
  }
  EXPECT_EQ(default_threads(root), 1);
}

TEST(Threads, HonoursQuotas) {
  const fs::path root = test::scratch_folder();
  write(root / "sys/fs/cgroup/cpu.max", "max 100000\n");
  EXPECT_EQ(default_threads(root), allowed());
  write(root / "sys/fs/cgroup/cpu.max", "60000 100000\n");
  EXPECT_EQ(default_threads(root), 1);
  write(root / "sys/fs/cgroup/cpu.max", "1000 100000\n");
  EXPECT_EQ(default_threads(root), 1);
  write(root / "sys/fs/cgroup/cpu.max", "900000000 100000\n");
  EXPECT_EQ(default_threads(root), allowed());
  // The quota of a group above this process's own counts as well.
  write(root / "proc/self/cgroup", "0::/outer/inner\n");
  write(root / "sys/fs/cgroup/outer/cpu.max", "100000 100000\n");
  write(root / "sys/fs/cgroup/outer/inner/cpu.max", "max 100000\n");
  EXPECT_EQ(default_threads(root), 1);
}

TEST(Threads, HonoursQuotasOfVersionOne) {
  const fs::path root = test::scratch_folder();
  write(root / "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
  write(root / "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(default_threads(root), allowed());
  write(root / "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "100000\n");
  EXPECT_EQ(default_threads(root), 1);
}

TEST(Threads, Sets) {
  const int before = thread_count();
  set_threads(1);
  EXPECT_EQ(thread_count(), 1);
  set_threads(0);
  EXPECT_GE(thread_count(), 1);
  EXPECT_THROW(set_threads(-1), Error);
  EXPECT_THROW(set_threads(1'000'000), Error);
  set_threads(before);
}

}  // namespace
}  // namespace glmimage
