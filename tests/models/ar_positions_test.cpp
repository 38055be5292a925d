#include "models/ar/positions.h"

#include <ATen/core/Tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/safetensors.h"
#include "support/goldens.h"

namespace glmimage {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr int64_t kBegin = 16384, kEnd = 16385, kImage = 167855;
constexpr ImageMarkers kMarkers{kBegin, kEnd};

std::vector<int64_t> host(const at::Tensor& t) {
  at::Tensor c = t.contiguous().view(-1);
  return {c.const_data_ptr<int64_t>(), c.const_data_ptr<int64_t>() + c.numel()};
}

TEST(ArPositions, EditWithOneSource) {
  const std::vector<int64_t> ids{10, kBegin, kImage, kImage, kImage, kImage, kImage, kImage, kEnd, 11, 12, 13, kBegin};
  const ArPositions p = ar_positions(ids, {{2, 3}, {4, 2}}, kMarkers);
  EXPECT_THAT(p.prefill.temporal, ElementsAre(0, 1, 2, 2, 2, 2, 2, 2, 5, 6, 7, 8, 9));
  EXPECT_THAT(p.prefill.height, ElementsAre(0, 1, 2, 2, 2, 3, 3, 3, 5, 6, 7, 8, 9));
  EXPECT_THAT(p.prefill.width, ElementsAre(0, 1, 2, 3, 4, 2, 3, 4, 5, 6, 7, 8, 9));
  EXPECT_THAT(p.decode.temporal, ElementsAre(10, 10, 10, 10, 10, 10, 10, 10, 14));
  EXPECT_THAT(p.decode.height, ElementsAre(10, 10, 11, 11, 12, 12, 13, 13, 14));
  EXPECT_THAT(p.decode.width, ElementsAre(10, 11, 10, 11, 10, 11, 10, 11, 14));
}

TEST(ArPositions, TextToImageDrawsTheDraftFirst) {
  const ArPositions p = ar_positions({1, 2, 3, kBegin}, {{3, 4}, {2, 2}}, kMarkers);
  EXPECT_THAT(p.prefill.temporal, ElementsAre(0, 1, 2, 3));
  EXPECT_EQ(p.prefill.temporal, p.prefill.width);
  EXPECT_THAT(p.decode.temporal, ElementsAre(4, 4, 4, 4, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 10));
  EXPECT_THAT(p.decode.height, ElementsAre(4, 4, 5, 5, 6, 6, 6, 6, 7, 7, 7, 7, 8, 8, 8, 8, 10));
  EXPECT_THAT(p.decode.width, ElementsAre(4, 5, 4, 5, 6, 7, 8, 9, 6, 7, 8, 9, 6, 7, 8, 9, 10));
}

TEST(ArPositions, AdjacentSources) {
  const std::vector<int64_t> ids{kBegin, kImage, kImage, kImage, kImage, kEnd, kBegin, kImage, kImage, kEnd, 5, kBegin};
  const ArPositions p = ar_positions(ids, {{2, 2}, {1, 2}, {1, 1}}, kMarkers);
  EXPECT_THAT(p.prefill.temporal, ElementsAre(0, 1, 1, 1, 1, 3, 4, 5, 5, 7, 8, 9));
  EXPECT_THAT(p.decode.temporal, ElementsAre(10, 11));
}

TEST(ArPositions, PublishedSize) {
  const ArPositions p = ar_positions(std::vector<int64_t>(37, 3), {{32, 32}, {16, 16}}, kMarkers);
  EXPECT_EQ(p.decode.size(), 1281);
  EXPECT_EQ(p.decode.temporal[0], 37);
  EXPECT_EQ(p.decode.temporal[256], 37 + 16);
  EXPECT_EQ(p.decode.temporal[1280], 37 + 48);
}

TEST(ArPositions, RefusesPromptsThatDisagreeWithTheirGrids) {
  auto message = [](const std::vector<int64_t>& ids, const std::vector<Grid>& grids) -> std::string {
    try {
      ar_positions(ids, grids, kMarkers);
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::usage);
      return e.what();
    }
    return "";
  };
  EXPECT_THAT(message({kBegin, kImage, kImage, kEnd, kBegin}, {{1, 3}, {1, 1}}), HasSubstr("holds 2 ids, expected 3"));
  EXPECT_THAT(message({kEnd, kBegin, kImage, kBegin}, {{1, 1}, {1, 1}}), HasSubstr("image markers"));
  EXPECT_THAT(message({kEnd, kEnd, kEnd, kBegin}, {{1, 1}, {1, 1}}), HasSubstr("3 image ends but 2 grids"));
  EXPECT_THAT(message({1, kEnd}, {{1, 1}, {1, 1}}), HasSubstr("fewer image begins"));
}

TEST(ArPositions, TensorsArePaddedOnTheRight) {
  PositionTable one, two;
  one.push(7, 8, 9);
  two.push(2, 3, 4);
  two.push(5, 6, 7);
  at::Tensor t = positions_tensor({one, two});
  EXPECT_EQ(t.sizes(), (std::vector<int64_t>{3, 2, 2}));
  EXPECT_THAT(host(t), ElementsAre(7, 1, 2, 5, 8, 1, 3, 6, 9, 1, 4, 7));
  EXPECT_THAT(host(positions_tensor(two)), ElementsAre(2, 5, 3, 6, 4, 7));
}

TEST(ArPositions, AgreeWithTheReference) {
  for (const std::string name : {"tiny_a", "tiny_b", "tiny_c"}) {
    const auto config = ImageMarkers{name == "tiny_b"   ? 50
                                     : name == "tiny_a" ? 64
                                                        : 96,
                                     name == "tiny_b"   ? 49
                                     : name == "tiny_a" ? 65
                                                        : 97};
    const SafetensorsFile file = SafetensorsFile::open(test::golden(name + "/modules.safetensors"));
    for (const std::string prefix : {"ar", "ar_edit"}) {
      SCOPED_TRACE(name + " " + prefix);
      std::vector<Grid> grids;
      const std::vector<int64_t> flat = host(file.tensor(prefix + ".grids"));
      for (size_t i = 0; i < flat.size(); i += 3) grids.push_back({flat[i + 1], flat[i + 2]});
      const ArPositions p = ar_positions(host(file.tensor(prefix + ".input_ids")), grids, config);
      EXPECT_TRUE(positions_tensor(p.prefill).equal(file.tensor(prefix + ".position_ids")));
      EXPECT_TRUE(positions_tensor(p.decode).equal(file.tensor(prefix + ".decode.position_ids")));
    }
  }
}

}  // namespace
}  // namespace glmimage
