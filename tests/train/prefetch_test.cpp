#include "train/data/prefetch.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <stdexcept>
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

}  // namespace
}  // namespace glmimage::train
