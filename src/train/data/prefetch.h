#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "core/error.h"

namespace glmimage::train {

// Makes the batches of steps first, first+1, …, end-1 ahead of time on worker threads and hands them out in order,
// whichever is ready first. At most `depth` finished batches wait, and every worker has one more in hand. `make` must
// be a pure function of the step, callable from many threads at once. Its exceptions surface in next(), in the place of
// their batch and from then on.
template <typename Batch>
class Prefetch {
 public:
  Prefetch(std::function<Batch(int64_t)> make, int64_t first, int64_t end, size_t depth = 3, size_t workers = 1)
      : make_(std::move(make)),
        ahead_(static_cast<int64_t>(depth + std::max<size_t>(workers, 1))),
        next_to_make_(first),
        next_to_give_(first),
        end_(end),
        last_(Clock::now()) {
    try {
      for (size_t i = 0; i < std::max<size_t>(workers, 1); ++i) workers_.emplace_back([this] { work(); });
    } catch (...) {  // the system gives no more threads
      finish();
      throw;
    }
  }
  ~Prefetch() { finish(); }
  Prefetch(const Prefetch&) = delete;
  Prefetch& operator=(const Prefetch&) = delete;

  Batch next() {
    std::unique_lock lock(mutex_);
    if (next_to_give_ >= end_)
      fail(ErrorKind::internal, "batch ", next_to_give_, " was asked for; ", end_, " end them");
    const Clock::time_point asked = Clock::now();
    changed_.wait(lock, [this] { return ready_.contains(next_to_give_); });
    const Clock::time_point got = Clock::now();
    waits_.push_back({got - last_, got - asked});
    last_ = got;
    if (waits_.size() > kWindow) waits_.pop_front();
    Result& result = ready_.at(next_to_give_);
    if (result.error) std::rethrow_exception(result.error);
    Batch batch = std::move(*result.batch);
    ready_.erase(next_to_give_++);
    lock.unlock();
    changed_.notify_all();
    return batch;
  }

  // The share of the time of the last 20 batches that next() spent waiting: 0 when the workers keep up, towards 1 when
  // the training starves.
  double wait_share() const {
    std::lock_guard lock(mutex_);
    Clock::duration all{}, waited{};
    for (const Turn& turn : waits_) all += turn.all, waited += turn.waited;
    return all.count() > 0 ? std::chrono::duration<double>(waited) / std::chrono::duration<double>(all) : 0;
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr size_t kWindow = 20;
  // From one batch handed out to the next.
  struct Turn {
    Clock::duration all, waited;
  };
  struct Result {
    std::optional<Batch> batch;
    std::exception_ptr error;
  };

  bool may_make() const { return next_to_make_ < end_ && next_to_make_ < next_to_give_ + ahead_; }

  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [this] { return done_ || may_make() || next_to_make_ >= end_; });
      if (done_ || next_to_make_ >= end_) return;
      const int64_t step = next_to_make_++;
      lock.unlock();
      Result result;
      try {
        result.batch.emplace(make_(step));
      } catch (...) {
        result.error = std::current_exception();
      }
      lock.lock();
      if (result.error) next_to_make_ = end_;  // nothing behind a failed batch will be handed out
      ready_.emplace(step, std::move(result));
      changed_.notify_all();
    }
  }

  void finish() {
    {
      std::lock_guard lock(mutex_);
      done_ = true;
    }
    changed_.notify_all();
    for (std::thread& worker : workers_) worker.join();
  }

  std::function<Batch(int64_t)> make_;
  const int64_t ahead_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  int64_t next_to_make_, next_to_give_;
  const int64_t end_;
  std::map<int64_t, Result> ready_;
  bool done_ = false;
  Clock::time_point last_;  // when a batch was handed out
  std::deque<Turn> waits_;
  std::vector<std::thread> workers_;  // last: they start when everything above is there
};

}  // namespace glmimage::train
