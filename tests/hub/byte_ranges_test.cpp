#include "hub/byte_ranges.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace glmimage::hub {
namespace {

TEST(ByteRanges, JoinsWhatTouches) {
  ByteRanges set;
  set.add({10, 20});
  set.add({30, 40});
  set.add({5, 5});
  EXPECT_EQ(set.ranges(), (std::map<int64_t, int64_t>{{10, 20}, {30, 40}}));
  set.add({20, 30});
  EXPECT_EQ(set.ranges(), (std::map<int64_t, int64_t>{{10, 40}}));
}

TEST(ByteRanges, FindsTheFirstGap) {
  ByteRanges set;
  EXPECT_EQ(set.first_gap(100, 30), (ByteRange{0, 30}));
  set.add({0, 30});
  set.add({40, 90});
  EXPECT_EQ(set.first_gap(100, 30), (ByteRange{30, 40}));
  set.add({30, 40});
  EXPECT_EQ(set.first_gap(100, 30), (ByteRange{90, 100}));
  set.add({90, 100});
  EXPECT_EQ(set.first_gap(100, 30).size(), 0);
  EXPECT_EQ(ByteRanges().first_gap(0, 30).size(), 0);
}

// Against a plain list of bytes.
TEST(ByteRanges, IsASetOfBytes) {
  std::mt19937 random(1);
  for (int turn = 0; turn < 200; ++turn) {
    ByteRanges set;
    std::vector<bool> bytes(64);
    for (int i = 0; i < 12; ++i) {
      const int64_t begin = random() % 64, end = begin + random() % (65 - begin);
      set.add({begin, end});
      std::fill(bytes.begin() + begin, bytes.begin() + end, true);
    }
    int64_t count = 0, gap = 0;
    for (const bool byte : bytes) count += byte;
    while (gap < 64 && bytes[gap]) ++gap;
    EXPECT_EQ(set.count(), count);
    EXPECT_EQ(set.first_gap(64, 1).begin, gap);
    for (const auto& [begin, end] : set.ranges()) {
      for (int64_t at = begin; at < end; ++at) EXPECT_TRUE(bytes[at]);
    }
  }
}

}  // namespace
}  // namespace glmimage::hub
