#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>

namespace glmimage::train {

// Makes the batches of steps first, first+1, … ahead of time on one worker thread, at most `depth` waiting, and hands
// them out in order. `make` must be a pure function of the step. Its exceptions surface in next().
template <typename Batch>
class Prefetch {
 public:
  Prefetch(std::function<Batch(int64_t)> make, int64_t first, int64_t end, size_t depth = 3)
      : make_(std::move(make)), depth_(depth), worker_([this, first, end] { work(first, end); }) {}
  ~Prefetch() {
    {
      std::lock_guard lock(mutex_);
      done_ = true;
    }
    changed_.notify_all();
    worker_.join();
  }
  Prefetch(const Prefetch&) = delete;
  Prefetch& operator=(const Prefetch&) = delete;

  Batch next() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !ready_.empty() || error_; });
    if (ready_.empty()) std::rethrow_exception(error_);
    Batch batch = std::move(ready_.front());
    ready_.pop_front();
    lock.unlock();
    changed_.notify_all();
    return batch;
  }

 private:
  void work(int64_t first, int64_t end) {
    try {
      for (int64_t step = first; step < end; ++step) {
        Batch batch = make_(step);
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return ready_.size() < depth_ || done_; });
        if (done_) return;
        ready_.push_back(std::move(batch));
        changed_.notify_all();
      }
    } catch (...) {
      std::lock_guard lock(mutex_);
      error_ = std::current_exception();
      changed_.notify_all();
    }
  }

  std::function<Batch(int64_t)> make_;
  size_t depth_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Batch> ready_;
  std::exception_ptr error_;
  bool done_ = false;
  std::thread worker_;  // last: it starts when everything above is there
};

}  // namespace glmimage::train
