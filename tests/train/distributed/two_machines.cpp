#include "train/distributed/two_machines.h"

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <random>
#include <stdexcept>
#include <vector>

namespace glmimage::test {
namespace {

void command(const std::string& text) {
  if (std::system((text + " 2> /dev/null").c_str()) != 0) throw std::runtime_error(text + ": failed");
}

// The file of a new tunnel interface "wire" in a namespace; a namespace is a thread's, so one is made for it.
int tunnel_in(const std::string& name) {
  int file = -1;
  std::string fault;
  std::thread([&] {
    const int space = ::open(("/run/netns/" + name).c_str(), O_RDONLY | O_CLOEXEC);
    if (space < 0 || ::setns(space, CLONE_NEWNET) != 0) fault = std::strerror(errno);
    if (space >= 0) ::close(space);
    file = ::open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    ifreq request{};
    std::strncpy(request.ifr_name, "wire", IFNAMSIZ - 1);
    request.ifr_flags = IFF_TUN | IFF_NO_PI;
    if (file < 0 || ::ioctl(file, TUNSETIFF, &request) != 0) fault = std::strerror(errno);
  }).join();
  if (!fault.empty()) throw std::runtime_error("a tunnel in " + name + ": " + fault);
  return file;
}

struct Packet {
  std::chrono::steady_clock::time_point due;
  std::vector<char> bytes;
};

}  // namespace

bool TwoMachines::permitted() {
  const std::string name = "glm" + std::to_string(::getpid());
  return ::access("/dev/net/tun", R_OK | W_OK) == 0 &&
         std::system(("ip netns add " + name + " 2> /dev/null && ip netns del " + name).c_str()) == 0;
}

TwoMachines::TwoMachines(const Link& link) : link_(link) {
  try {
    for (size_t i = 0; i < 2; ++i) {
      const std::string name = "glm" + std::to_string(::getpid()) + (i == 0 ? "a" : "b");
      command("ip netns add " + name);
      names_[i] = name;
      ends_[i] = tunnel_in(name);
      command("ip -n " + name + " addr add " + address(i) + " peer " + address(1 - i) + " dev wire");
      command("ip -n " + name + " link set wire up");
      command("ip -n " + name + " link set lo up");
    }
  } catch (...) {
    clean_up();
    throw;
  }
  carrier_ = std::thread([this] { carry(); });
}

TwoMachines::~TwoMachines() {
  done_ = true;
  if (carrier_.joinable()) carrier_.join();
  clean_up();
}

void TwoMachines::clean_up() {
  for (size_t i = 0; i < 2; ++i) {
    if (ends_[i] >= 0) ::close(ends_[i]);
    if (!names_[i].empty()) static_cast<void>(std::system(("ip netns del " + names_[i]).c_str()));
  }
}

void TwoMachines::carry() {
  using Clock = std::chrono::steady_clock;
  std::mt19937 random(1);
  std::array<std::deque<Packet>, 2> on_the_way;  // from each end
  std::vector<char> buffer(65536);
  while (!done_) {
    std::array<pollfd, 2> files = {pollfd{ends_[0], POLLIN, 0}, pollfd{ends_[1], POLLIN, 0}};
    ::poll(files.data(), 2, on_the_way[0].empty() && on_the_way[1].empty() ? 20 : 1);
    for (size_t i = 0; i < 2; ++i) {
      for (ssize_t n = 0; (n = ::read(ends_[i], buffer.data(), buffer.size())) > 0;) {
        ++packets_;
        if (std::uniform_real_distribution<>()(random) < link_.loss) {
          ++lost_;
          continue;
        }
        on_the_way[i].push_back({Clock::now() + link_.delay, {buffer.begin(), buffer.begin() + n}});
      }
      while (!on_the_way[i].empty() && on_the_way[i].front().due <= Clock::now()) {
        const std::vector<char>& bytes = on_the_way[i].front().bytes;
        static_cast<void>(!::write(ends_[1 - i], bytes.data(), bytes.size()));
        on_the_way[i].pop_front();
      }
    }
  }
}

}  // namespace glmimage::test
