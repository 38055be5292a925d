#include "train/data/prefetch.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>

namespace glmimage::train {
namespace {

TEST(Prefetch, HandsOutInOrder) {
  Prefetch<int64_t> batches([](int64_t step) { return step * step; }, 5, 50);
  for (int64_t step = 5; step < 50; ++step) EXPECT_EQ(batches.next(), step * step);
}

TEST(Prefetch, KeepsAtMostDepthWaiting) {
  std::atomic<int64_t> made = 0;
  Prefetch<int64_t> batches([&](int64_t step) { return ++made, step; }, 0, 1000, 2);
  EXPECT_EQ(batches.next(), 0);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_LE(made.load(), 4);  // one given, two waiting, one in the worker's hand
}

TEST(Prefetch, GivesFinishedBatchesBeforeTheException) {
  Prefetch<int64_t> batches(
      [](int64_t step) {
        if (step == 2) throw std::runtime_error("no third batch");
        return step;
      },
      0, 10);
  EXPECT_EQ(batches.next(), 0);
  EXPECT_EQ(batches.next(), 1);
  EXPECT_THROW(batches.next(), std::runtime_error);
  EXPECT_THROW(batches.next(), std::runtime_error);  // and again, rather than waiting for ever
}

TEST(Prefetch, MayBeDestroyedEarly) {
  for (int round = 0; round < 20; ++round) {
    Prefetch<std::unique_ptr<int64_t>> batches([](int64_t step) { return std::make_unique<int64_t>(step); }, 0,
                                               1'000'000);
    if (round % 2) {
      EXPECT_EQ(*batches.next(), 0);
    }
  }
}

TEST(Prefetch, NothingToMake) {
  Prefetch<int64_t> batches([](int64_t step) { return step; }, 7, 7);
}

TEST(Prefetch, ManyWorkersKeepTheOrder) {
  std::atomic<int64_t> at_once = 0, most = 0;
  Prefetch<int64_t> batches(
      [&](int64_t step) {
        const int64_t now = ++at_once;
        for (int64_t seen = most; now > seen && !most.compare_exchange_weak(seen, now);) {
        }
        std::this_thread::sleep_for(std::chrono::microseconds(step % 7 == 0 ? 2000 : 100));  // late ones in between
        --at_once;
        return step;
      },
      0, 200, 3, 4);
  for (int64_t step = 0; step < 200; ++step) EXPECT_EQ(batches.next(), step);
  EXPECT_GE(most.load(), 2);
  EXPECT_LE(most.load(), 4);
}

TEST(Prefetch, ManyWorkersStayBounded) {
  std::atomic<int64_t> made = 0;
  Prefetch<int64_t> batches([&](int64_t step) { return ++made, step; }, 0, 1000, 2, 3);
  EXPECT_EQ(batches.next(), 0);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_LE(made.load(), 1 + 2 + 3);  // given, waiting, in the workers' hands
}

TEST(Prefetch, TheExceptionKeepsItsPlaceAmongManyWorkers) {
  for (int round = 0; round < 20; ++round) {
    Prefetch<int64_t> batches(
        [](int64_t step) {
          if (step == 9 || step == 11) throw std::runtime_error(std::to_string(step));
          if (step == 8) std::this_thread::sleep_for(std::chrono::milliseconds(2));
          return step;
        },
        0, 1000, 4, 4);
    for (int64_t step = 0; step < 9; ++step) EXPECT_EQ(batches.next(), step);
    for (int again = 0; again < 2; ++again) {
      try {
        batches.next();
        ADD_FAILURE() << "no exception";
      } catch (const std::runtime_error& error) {
        EXPECT_STREQ(error.what(), "9");
      }
    }
  }
}

TEST(Prefetch, ManyWorkersMayBeDestroyedEarly) {
  for (int round = 0; round < 20; ++round) {
    Prefetch<std::unique_ptr<int64_t>> batches([](int64_t step) { return std::make_unique<int64_t>(step); }, 0,
                                               1'000'000, 3, 5);
    if (round % 2) {
      EXPECT_EQ(*batches.next(), 0);
    }
  }
}

TEST(Prefetch, ThereIsNothingBehindTheEnd) {
  Prefetch<int64_t> batches([](int64_t step) { return step; }, 0, 1);
  EXPECT_EQ(batches.next(), 0);
  EXPECT_THROW(batches.next(), Error);
}

TEST(Prefetch, TellsTheShareOfWaiting) {
  const auto nap = [](int milliseconds) { std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds)); };
  Prefetch<int64_t> slow([&](int64_t step) { return nap(10), step; }, 0, 10);
  for (int i = 0; i < 10; ++i) slow.next();
  EXPECT_GT(slow.wait_share(), 0.8);
  EXPECT_LE(slow.wait_share(), 1.0);
  Prefetch<int64_t> quick([](int64_t step) { return step; }, 0, 10);
  for (int i = 0; i < 10; ++i) nap(10), quick.next();
  EXPECT_LT(quick.wait_share(), 0.2);
}

}  // namespace
}  // namespace glmimage::train
