#include "train/data/batch_order.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <thread>

#include "train/data/data_helpers.h"
#include "train/data/mix_schedule.h"
#include "train/data/permutation.h"

namespace glmimage::train {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;

TEST(Permutation, VisitsEveryPlaceOnce) {
  for (int64_t count : {1, 2, 3, 4, 5, 7, 8, 16, 17, 63, 64, 65, 1000, 4097}) {
    for (uint64_t key : {0, 1, 99}) {
      const Permutation shuffle(count, key);
      std::vector<int> seen(static_cast<size_t>(count));
      for (int64_t i = 0; i < count; ++i) {
        const int64_t to = shuffle(i);
        ASSERT_TRUE(to >= 0 && to < count);
        ++seen[static_cast<size_t>(to)];
      }
      EXPECT_THAT(seen, Each(1)) << count;
    }
  }
}

// The chi-square of `counts` against equal shares, in standard deviations above its mean.
double excess(const std::vector<int64_t>& counts) {
  double sum = 0, chi = 0;
  for (int64_t count : counts) sum += static_cast<double>(count);
  const double mean = sum / static_cast<double>(counts.size());
  for (int64_t count : counts) chi += (static_cast<double>(count) - mean) * (static_cast<double>(count) - mean) / mean;
  const double degrees = static_cast<double>(counts.size()) - 1;
  return (chi - degrees) / std::sqrt(2 * degrees);
}

TEST(Permutation, PlacesAndNeighboursAreEven) {
  for (int64_t count : {2, 3, 4, 5, 6, 12, 30}) {
    std::vector<int64_t> first(static_cast<size_t>(count)), pairs(static_cast<size_t>(count * count));
    for (uint64_t key = 0; key < 20000; ++key) {
      const Permutation shuffle(count, key);
      ++first[static_cast<size_t>(shuffle(0))];
      ++pairs[static_cast<size_t>(shuffle(0) * count + shuffle(1))];
    }
    EXPECT_LT(excess(first), 5) << count;
    std::vector<int64_t> off_diagonal;
    for (int64_t i = 0; i < count * count; ++i) {
      if (i / count != i % count) off_diagonal.push_back(pairs[static_cast<size_t>(i)]);
    }
    if (count > 2) {
      EXPECT_LT(excess(off_diagonal), 5) << count;
    }
  }
}

// How often each entry of each group comes in batches first … end-1; padding is not counted.
std::map<std::pair<int64_t, int64_t>, int64_t> visits(const BatchOrder& order, int64_t first, int64_t end) {
  std::map<std::pair<int64_t, int64_t>, int64_t> counts;
  for (int64_t index = first; index < end; ++index) {
    const BatchRows rows = order.at(index);
    EXPECT_EQ(static_cast<int64_t>(rows.entries.size()), order.batch_size());
    for (int64_t row = 0; row < rows.real; ++row) ++counts[{rows.group, rows.entries[static_cast<size_t>(row)]}];
  }
  return counts;
}

const std::vector<int64_t> kSizes = {10, 4, 1, 33};

TEST(BatchOrder, PadVisitsEachEntryOnceAnEpoch) {
  const BatchOrder order(kSizes, 4, LastBatch::pad, 7);
  EXPECT_EQ(order.batches_before(1), 3 + 1 + 1 + 9);
  for (int64_t epoch = 0; epoch < 5; ++epoch) {
    const auto counts = visits(order, order.batches_before(epoch), order.batches_before(epoch + 1));
    EXPECT_EQ(counts.size(), 48U);
    for (const auto& [entry, count] : counts) EXPECT_EQ(count, 1);
  }
  const BatchRows last = BatchOrder({5}, 4, LastBatch::pad, 7).at(0).real == 4
                             ? BatchOrder({5}, 4, LastBatch::pad, 7).at(1)
                             : BatchOrder({5}, 4, LastBatch::pad, 7).at(0);
  EXPECT_EQ(last.real, 1);
  EXPECT_EQ(last.entries.size(), 4U);
}

TEST(BatchOrder, DropLeavesOthersOutInTurn) {
  const BatchOrder order(kSizes, 4, LastBatch::drop, 7);
  EXPECT_EQ(order.batches_before(1), 2 + 1 + 0 + 8);
  EXPECT_EQ(order.dropped(), 2 + 0 + 1 + 1);
  for (const auto& [entry, count] : visits(order, 0, order.batches_before(1))) EXPECT_EQ(count, 1);
  const auto many = visits(order, 0, order.batches_before(50));
  EXPECT_EQ(many.size(), 47U);  // all but the group of one
  EXPECT_THAT(test::usage_error([] {
                BatchOrder({3, 2}, 4, LastBatch::drop, 1);
              }),
              HasSubstr("no bucket has the 4 pictures of a batch (5 pictures in 2 buckets)"));
}

TEST(BatchOrder, CarryLosesNothing) {
  const BatchOrder order(kSizes, 4, LastBatch::carry, 7);
  // After four epochs every group has filled its batches exactly.
  const auto counts = visits(order, 0, order.batches_before(4));
  EXPECT_EQ(order.batches_before(4), 48);
  EXPECT_EQ(counts.size(), 48U);
  for (const auto& [entry, count] : counts) EXPECT_EQ(count, 4) << entry.first << " " << entry.second;
  // At the end of any epoch an entry has been seen once an epoch, or once less while it waits.
  for (int64_t epoch = 1; epoch < 12; ++epoch) {
    int64_t waiting = 0;
    const auto so_far = visits(order, 0, order.batches_before(epoch));
    for (size_t group = 0; group < kSizes.size(); ++group) {
      for (int64_t entry = 0; entry < kSizes[group]; ++entry) {
        const auto found = so_far.find({static_cast<int64_t>(group), entry});
        const int64_t count = found == so_far.end() ? 0 : found->second;
        EXPECT_LE(count, epoch);
        if (kSizes[group] >= 4) {
          EXPECT_GE(count, epoch - 1);
        }
        waiting += epoch - count;
      }
    }
    EXPECT_LT(waiting, 4 * 4);
  }
}

TEST(BatchOrder, IsAPureFunctionOfTheIndex) {
  for (LastBatch policy : {LastBatch::drop, LastBatch::pad, LastBatch::carry}) {
    const BatchOrder order(kSizes, 4, policy, 7), again(kSizes, 4, policy, 7), other(kSizes, 4, policy, 8);
    int64_t differ = 0;
    for (int64_t index : {900, 3, 0, 77, 1'000'000'000, 12}) {
      EXPECT_EQ(order.at(index).entries, again.at(index).entries);
      EXPECT_EQ(order.at(index).group, again.at(index).group);
      differ += order.at(index).entries != other.at(index).entries;
    }
    EXPECT_GE(differ, 3);
  }
}

TEST(BatchOrder, EpochsAreShuffledAnew) {
  const BatchOrder order({400}, 4, LastBatch::pad, 3);
  std::vector<int64_t> first, second;
  for (int64_t i = 0; i < 100; ++i) {
    for (int64_t entry : order.at(i).entries) first.push_back(entry);
    for (int64_t entry : order.at(100 + i).entries) second.push_back(entry);
    EXPECT_EQ(order.at(i).epoch, 0);
    EXPECT_EQ(order.at(100 + i).epoch, 1);
  }
  int64_t same = 0, in_order = 0;
  for (size_t i = 0; i < 400; ++i) same += first[i] == second[i];
  for (size_t i = 1; i < 400; ++i) in_order += first[i] == first[i - 1] + 1;
  EXPECT_LT(same, 8);
  EXPECT_LT(in_order, 8);
}

TEST(MixSchedule, DrawsByWeightAndCounts) {
  const std::vector<double> weights = {1, 2, 5};
  const MixSchedule mix(weights, 11);
  std::vector<int64_t> counts(3);
  constexpr int64_t kSteps = 8000;
  for (int64_t step = 0; step < kSteps; ++step) {
    const MixSchedule::Turn turn = mix.at(step);
    EXPECT_EQ(turn.index, counts[static_cast<size_t>(turn.source)]++) << step;
  }
  double chi = 0;
  for (size_t i = 0; i < 3; ++i) {
    const double expected = kSteps * weights[i] / 8;
    chi += (static_cast<double>(counts[i]) - expected) * (static_cast<double>(counts[i]) - expected) / expected;
  }
  EXPECT_LT(chi, 13.8);  // p = 0.001 with two degrees of freedom
}

TEST(MixSchedule, MayBeAskedInAnyOrderByManyThreads) {
  const MixSchedule straight({1, 1}, 5), jumping({1, 1}, 5);
  std::vector<MixSchedule::Turn> turns;
  for (int64_t step = 0; step < 5000; ++step) turns.push_back(straight.at(step));
  std::vector<std::thread> threads;
  for (int64_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int64_t step = 4999 - t; step >= 0; step -= 37) {
        EXPECT_EQ(jumping.at(step).source, turns[static_cast<size_t>(step)].source);
        EXPECT_EQ(jumping.at(step).index, turns[static_cast<size_t>(step)].index);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THROW(MixSchedule({}, 1), Error);
  EXPECT_THROW(MixSchedule({1, 0}, 1), Error);
}

}  // namespace
}  // namespace glmimage::train
