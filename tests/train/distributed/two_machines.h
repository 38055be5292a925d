#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <string>
#include <thread>

namespace glmimage::test {

// Two network namespaces that reach each other alone, by a link that this process plays: packets come late, some never.
// (The kernel's own means for that, netem, is a module that not every machine has.)
class TwoMachines {
 public:
  struct Link {
    std::chrono::microseconds delay;  // one way
    double loss = 0;                  // share of the packets
  };
  // Whether the system lets this process: that needs root and /dev/net/tun.
  static bool permitted();
  // Throws std::runtime_error.
  explicit TwoMachines(const Link& link);
  ~TwoMachines();
  TwoMachines(const TwoMachines&) = delete;
  TwoMachines& operator=(const TwoMachines&) = delete;

  const std::string& name(size_t machine) const { return names_[machine]; }  // for `ip netns exec`
  static const char* address(size_t machine) { return machine == 0 ? "10.77.0.1" : "10.77.0.2"; }
  int64_t packets() const { return packets_; }
  int64_t lost() const { return lost_; }

 private:
  void carry();
  void clean_up();

  Link link_;
  std::array<std::string, 2> names_;
  std::array<int, 2> ends_ = {-1, -1};
  std::atomic<bool> done_ = false;
  std::atomic<int64_t> packets_ = 0, lost_ = 0;
  std::thread carrier_;
};

}  // namespace glmimage::test
