#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace glmimage::serve {

// "Something changed": what waits for jobs or for a cancellation sleeps here instead of asking again and again.
class ChangeSignal {
 public:
  void notify() {
    {
      const std::lock_guard lock(mutex_);
      ++version_;
    }
    changed_.notify_all();
  }
  uint64_t version() const {
    const std::lock_guard lock(mutex_);
    return version_;
  }
  // Until the version is another than `seen`, or the time is over. Returns the version.
  uint64_t wait(uint64_t seen, std::chrono::milliseconds limit) const {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, limit, [&] { return version_ != seen; });
    return version_;
  }

 private:
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  uint64_t version_ = 0;
};

}  // namespace glmimage::serve
