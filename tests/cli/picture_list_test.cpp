#include "cli/picture_list.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <set>

#include "support/error_of.h"
#include "support/goldens.h"

namespace glmimage::cli {
namespace {

using test::error_of;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<WantedPicture> list(const std::filesystem::path& folder, int64_t count) {
  std::vector<WantedPicture> out;
  for (int64_t i = 1; i <= count; ++i) {
    out.push_back({.number = i, .prompt = concat("picture ", i), .seed = 5, .file = numbered(folder / "a.png", i)});
  }
  return out;
}

const nlohmann::ordered_json kSettings = {{"steps", 20}};

ManifestEntry draw(const WantedPicture& picture) {
  std::ofstream(picture.file) << "pixels";
  return {.bytes = 6, .sha256 = "", .width = 1, .height = 1, .seconds = 0};
}

TEST(PictureList, SharesCoverTheListOnce) {
  for (int64_t count : {1, 2, 3, 7, 20}) {
    std::set<int64_t> seen;
    for (int64_t index = 0; index < count; ++index) {
      for (const WantedPicture& each : take_share(list("", 10), {.index = index, .count = count, .source = ""})) {
        EXPECT_TRUE(seen.insert(each.number).second);
      }
    }
    EXPECT_EQ(seen.size(), 10u);
  }
}

TEST(PictureList, ShareByHand) {
  EXPECT_EQ(parse_share("2/8").index, 1);
  EXPECT_EQ(parse_share("2/8").count, 8);
  for (const char* bad :
       {"", "2", "/", "0/2", "3/2", "-1/2", "1/0", "1/2/3", "1 /2", "a/b", "1/99999999999999999999"}) {
    EXPECT_THAT(error_of(ErrorKind::usage, [&] { parse_share(bad); }), HasSubstr("--share")) << bad;
  }
}

TEST(PictureList, GoesOnWhereItWas) {
  const auto folder = test::scratch_folder();
  {
    Manifest manifest(folder / "m", kSettings);
    RemainingPictures remaining(manifest, list(folder, 5));
    for (int i = 0; i < 3; ++i) {
      const WantedPicture picture = remaining.next().value();
      remaining.finish(picture, draw(picture));
    }
    EXPECT_EQ(remaining.next()->number, 4);  // and is never finished
  }
  std::filesystem::remove(folder / "a-2.png");
  std::filesystem::resize_file(folder / "a-3.png", 1);
  Manifest manifest(folder / "m", kSettings);
  RemainingPictures remaining(manifest, list(folder, 5));
  EXPECT_EQ(remaining.found(), 1);
  std::vector<int64_t> drawn;
  while (const auto picture = remaining.next()) {
    drawn.push_back(picture->number);
    remaining.finish(*picture, draw(*picture));
  }
  EXPECT_THAT(drawn, ElementsAre(2, 3, 4, 5));
  Manifest again(folder / "m", kSettings);
  EXPECT_TRUE(RemainingPictures(again, list(folder, 5)).empty());
}

// Two calls with the same list at the same time.
TEST(PictureList, NobodyDrawsWhatAnotherDraws) {
  const auto folder = test::scratch_folder();
  Manifest one(folder / "m", kSettings), two(folder / "m", kSettings);
  RemainingPictures first(one, list(folder, 3)), second(two, list(folder, 3));
  const WantedPicture a = first.next().value(), b = second.next().value();
  EXPECT_EQ(a.number, 1);
  EXPECT_EQ(b.number, 2);
  first.finish(a, draw(a));
  const WantedPicture c = first.next().value();
  EXPECT_EQ(c.number, 3) << "picture 2 is the other's";
  second.finish(b, draw(b));
  EXPECT_FALSE(second.next());
  EXPECT_EQ(second.found(), 1) << "picture 1, drawn since it began";
  EXPECT_EQ(second.elsewhere(), 1) << "picture 3, which is being drawn";
  first.finish(c, draw(c));
  EXPECT_FALSE(first.next());
  EXPECT_EQ(first.found(), 1);
  EXPECT_EQ(first.elsewhere(), 0);
}

TEST(PictureList, AnotherListIsRefused) {
  const auto folder = test::scratch_folder();
  Manifest manifest(folder / "m", kSettings);
  RemainingPictures remaining(manifest, list(folder, 1));
  const WantedPicture picture = remaining.next().value();
  remaining.finish(picture, draw(picture));
  const auto refusal = [&](const auto& change) {
    std::vector<WantedPicture> other = list(folder, 2);
    change(other[0]);
    Manifest again(folder / "m", kSettings);
    return error_of(ErrorKind::usage, [&] { RemainingPictures(again, other); });
  };
  EXPECT_THAT(refusal([](WantedPicture& each) { each.prompt = "a dog"; }), HasSubstr("another prompt, picture 1"));
  EXPECT_THAT(refusal([](WantedPicture& each) { each.seed = 6; }), HasSubstr("another seed, 5, not 6"));
  EXPECT_THAT(refusal([](WantedPicture& each) { each.file = "b.png"; }), HasSubstr("another name, a-1.png"));
}

}  // namespace
}  // namespace glmimage::cli
