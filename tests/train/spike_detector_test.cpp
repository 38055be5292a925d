#include "train/watch/spike_detector.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

namespace glmimage::train {
namespace {

TEST(SpikeDetector, TellsALossThatStandsOut) {
  SpikeDetector spikes(6);
  std::mt19937 random(1);
  std::normal_distribution<double> loss(2.0, 0.1);
  for (int i = 0; i < 1000; ++i) EXPECT_FALSE(spikes.add(loss(random))) << i;
  const std::optional<double> z = spikes.add(3.0);
  ASSERT_TRUE(z);
  EXPECT_NEAR(*z, 10, 2);
  EXPECT_FALSE(spikes.add(1.0));  // what falls is no spike
  EXPECT_FALSE(spikes.add(2.0));
}

// The mean follows a loss that falls, and one that has gone up for good.
TEST(SpikeDetector, GetsUsedToIt) {
  SpikeDetector spikes(6);
  for (int i = 0; i < 500; ++i) EXPECT_FALSE(spikes.add(5.0 - 0.005 * i));
  int told = 0;
  for (int i = 0; i < 300; ++i) told += spikes.add(50.0 + 0.01 * (i % 7)) ? 1 : 0;
  EXPECT_GE(told, 1);
  EXPECT_LE(told, 10);
}

TEST(SpikeDetector, KnowsNothingAtFirstAndNothingOfNonsense) {
  SpikeDetector spikes(6), off(0);
  EXPECT_FALSE(spikes.add(1));
  EXPECT_FALSE(spikes.add(100));
  for (int i = 0; i < 200; ++i) {
    EXPECT_FALSE(spikes.add(i % 2));
    EXPECT_FALSE(spikes.add(std::numeric_limits<double>::quiet_NaN()));
    EXPECT_FALSE(off.add(i % 2));
  }
  EXPECT_FALSE(spikes.add(std::numeric_limits<double>::infinity()));
  EXPECT_FALSE(off.add(1e9));
  EXPECT_TRUE(spikes.add(100));
}

TEST(SpikeDetector, EqualLossesHaveNoDeviation) {
  SpikeDetector spikes(6);
  for (int i = 0; i < 100; ++i) EXPECT_FALSE(spikes.add(1));
  EXPECT_FALSE(spikes.add(2));  // infinitely many deviations: no number to tell
}

}  // namespace
}  // namespace glmimage::train
