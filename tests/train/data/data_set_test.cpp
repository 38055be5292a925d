#include "train/data/data_set.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "train/data/data_helpers.h"
#include "train/data/prefetch.h"

namespace glmimage::train {
namespace {

namespace fs = std::filesystem;
using test::write_pair;
using test::write_text;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

DataOptions options(int64_t batch, int64_t area = 64) {
  DataOptions out;
  out.config.areas = {area};
  out.batch = batch;
  out.seed = 3;
  return out;
}

// 7 square pictures, 5 wide ones, numbered in blue.
fs::path mixed_folder() {
  const fs::path folder = test::scratch_folder();
  for (int i = 0; i < 12; ++i) {
    write_pair(folder / concat("p", 10 + i, ".png"), i < 7 ? 80 : 128, i < 7 ? 80 : 70, concat("picture ", i), i);
  }
  return folder;
}

void expect_equal(const DataBatch& a, const DataBatch& b) {
  EXPECT_EQ(a.names, b.names);
  EXPECT_EQ(a.captions, b.captions);
  ASSERT_EQ(a.pictures.size(), b.pictures.size());
  for (size_t i = 0; i < a.pictures.size(); ++i) EXPECT_TRUE(a.pictures[i].pixels == b.pictures[i].pixels);
}

TEST(DataSet, BatchesAreOfOneBucketAndEpochsAreExact) {
  DataOptions options = train::options(3, 128);
  options.config.last_batch = LastBatch::pad;
  const DataSet data = DataSet::open(parse_data_specs({mixed_folder()}), options);
  EXPECT_EQ(data.size(), 12);
  for (int64_t epoch = 0; epoch < 3; ++epoch) {
    std::multiset<std::string> seen;
    for (int64_t i = 0; i < 5; ++i) {  // 3 batches of squares, 2 of wide ones
      const DataBatch batch = data.batch(epoch * 5 + i);
      EXPECT_EQ(batch.epoch, epoch);
      ASSERT_THAT(batch.pictures, SizeIs(3));
      for (const Image& picture : batch.pictures) {
        EXPECT_EQ(picture.width, batch.pictures[0].width);
        EXPECT_EQ(picture.width * picture.height, picture.width == 128 ? 128 * 128 : 192 * 96);
      }
      for (size_t row = 0; row < 3; ++row) {
        const int number = std::stoi(batch.names[row].substr(1)) - 10;
        EXPECT_EQ(batch.captions[row], concat("picture ", number));
        EXPECT_EQ(batch.pictures[row].pixels[2], number);
        if (static_cast<int64_t>(row) < batch.real) seen.insert(batch.names[row]);
      }
      const DataBatch planned = data.batch(epoch * 5 + i, Pixels::none);
      EXPECT_EQ(batch.names, planned.names);
      EXPECT_EQ(batch.captions, planned.captions);
      EXPECT_EQ(batch.records, planned.records);
      EXPECT_EQ(batch.framings[1].x, planned.framings[1].x);
      EXPECT_THAT(planned.pictures, SizeIs(0));
    }
    EXPECT_THAT(seen, SizeIs(12));
    EXPECT_THAT(std::set<std::string>(seen.begin(), seen.end()), SizeIs(12));
  }
}

TEST(DataSet, GoesOnFromAnyStepWithTheSameBits) {
  const fs::path folder = mixed_folder();
  DataOptions options = train::options(4);
  options.config.crop = CropAt::random;
  options.config.flip = 0.5;
  options.config.caption_dropout = 0.3;
  const DataSet straight = DataSet::open(parse_data_specs({folder}), options);
  std::vector<DataBatch> batches;
  for (int64_t step = 0; step < 20; ++step) batches.push_back(straight.batch(step));
  const DataSet resumed = DataSet::open(parse_data_specs({folder}), options);
  EXPECT_EQ(straight.fingerprint(), resumed.fingerprint());
  Prefetch<DataBatch> ahead([&](int64_t step) { return resumed.batch(step); }, 7, 20, 3, 3);
  for (int64_t step = 7; step < 20; ++step) expect_equal(ahead.next(), batches[static_cast<size_t>(step)]);
  options.seed = 4;
  EXPECT_NE(DataSet::open(parse_data_specs({folder}), options).fingerprint(), straight.fingerprint());
  options.seed = 3;
  write_text(folder / "p10.txt", "other words");
  EXPECT_NE(DataSet::open(parse_data_specs({folder}), options).fingerprint(), straight.fingerprint());
}

TEST(DataSet, DrawsCaptionsFlipsCropsAndDropout) {
  const fs::path folder = test::scratch_folder();
  write_pair(folder / "a.png", 100, 70, "one\ntwo\nthree");
  DataOptions options = train::options(1);
  options.config.fit = Fit::window;
  options.config.crop = CropAt::random;
  options.config.flip = 0.5;
  options.config.caption_dropout = 0.25;
  const DataSet data = DataSet::open(parse_data_specs({folder}), options);
  std::map<std::string, int> captions;
  std::set<int64_t> lefts, tops;
  int mirrored = 0;
  constexpr int kVisits = 800;
  for (int64_t step = 0; step < kVisits; ++step) {
    const DataBatch batch = data.batch(step);
    const Framing& framing = batch.framings[0];
    ++captions[batch.captions[0]];
    mirrored += framing.mirrored;
    lefts.insert(framing.x), tops.insert(framing.y);
    const uint8_t* first = batch.pictures[0].pixels.data();
    EXPECT_EQ(first[0], framing.x + (framing.mirrored ? 63 : 0));
    EXPECT_EQ(first[1], framing.y);
  }
  EXPECT_NEAR(captions[""], kVisits / 4, 60);
  for (const char* caption : {"one", "two", "three"}) EXPECT_NEAR(captions[caption], kVisits / 4, 60);
  EXPECT_NEAR(mirrored, kVisits / 2, 60);
  EXPECT_THAT(lefts, SizeIs(37));
  EXPECT_THAT(tops, SizeIs(7));
}

TEST(DataSet, GivesRecordsByNumber) {
  DataOptions options = train::options(3);
  options.config.crop = CropAt::random;
  options.config.flip = 1;
  const DataSet data = DataSet::open(parse_data_specs({mixed_folder(), "synthetic:5"}), options);
  ASSERT_EQ(data.size(), 17);
  for (int64_t record = 0; record < data.size(); ++record) {
    const DataBatch one = data.picture(record);
    EXPECT_THAT(one.records, ElementsAre(record));
    EXPECT_THAT(one.pictures, SizeIs(1));
    EXPECT_FALSE(one.framings[0].mirrored);
    if (record < 12) {
      EXPECT_EQ(one.captions[0], concat("picture ", record));
    }
  }
  EXPECT_THROW(data.picture(17), Error);
}

TEST(DataSet, RepeatsAreVisits) {
  const fs::path folder = test::scratch_folder();
  write_pair(folder / "a.png", 64, 64);
  write_pair(folder / "b.png", 64, 64, "");
  write_text(folder / "b.json", R"({"caption": "b", "repeats": 3})");
  const DataSet data = DataSet::open(parse_data_specs({folder}), options(1));
  std::map<std::string, int> seen;
  for (int64_t step = 0; step < 8; ++step) ++seen[data.batch(step, Pixels::none).names[0]];
  EXPECT_EQ(seen["a.png"], 2);
  EXPECT_EQ(seen["b.png"], 6);
}

TEST(DataSet, EditingPairsShareShapesAndChances) {
  const fs::path folder = test::scratch_folder();
  std::string list;
  for (int i = 0; i < 6; ++i) {
    write_pair(folder / concat("t", i, ".png"), 128, 96, "", i);
    write_pair(folder / concat("s", i, ".png"), i % 2 ? 128 : 96, i % 2 ? 96 : 128, "", 100 + i);
    list += concat(R"({"image": "t)", i, R"(.png", "source": "s)", i, R"(.png", "caption": "do )", i, "\"}\n");
  }
  write_text(folder / "pairs.jsonl", list);
  DataOptions options = train::options(3, 64);
  options.config.fit = Fit::window;
  options.config.crop = CropAt::random;
  options.config.flip = 0.5;
  const DataSet windows = DataSet::open(parse_data_specs({folder / "pairs.jsonl"}), options);
  for (int64_t step = 0; step < 6; ++step) {
    const DataBatch batch = windows.batch(step);
    ASSERT_THAT(batch.references, ElementsAre(SizeIs(3)));
    for (size_t row = 0; row < 3; ++row) {
      const Image &target = batch.pictures[row], &source = batch.references[0][row];
      EXPECT_EQ(source.pixels[2], 100 + target.pixels[2]);
      EXPECT_EQ(batch.captions[row], concat("do ", int{target.pixels[2]}));
      if (target.pixels[2] % 2) {  // of one size: the same window, mirrored alike
        EXPECT_EQ(source.pixels[0], target.pixels[0]);
        EXPECT_EQ(source.pixels[1], target.pixels[1]);
      }
    }
  }
  options.config.fit = Fit::cover;
  options.config.areas = {128};
  const DataSet covered = DataSet::open(parse_data_specs({folder / "pairs.jsonl"}), options);
  for (int64_t step = 0; step < 6; ++step) {
    const DataBatch batch = covered.batch(step);
    for (size_t row = 0; row < 3; ++row) {  // each batch has references of one shape
      EXPECT_EQ(batch.references[0][row].width, batch.references[0][0].width);
      EXPECT_EQ(batch.references[0][row].width == batch.pictures[row].width, batch.pictures[row].pixels[2] % 2 == 1);
    }
  }
}

TEST(DataSet, WithoutWeightsSourcesAreOnePool) {
  const fs::path folder = test::scratch_folder();
  for (int i = 0; i < 6; ++i) write_pair(folder / (i < 4 ? "a" : "b") / concat(i, ".png"), 64, 64);
  const DataSet data = DataSet::open(parse_data_specs({folder / "a", folder / "b"}), options(2));
  std::multiset<std::string> seen;
  for (int64_t step = 0; step < 3; ++step) {
    const DataBatch batch = data.batch(step, Pixels::none);
    seen.insert(batch.names.begin(), batch.names.end());
  }
  EXPECT_THAT(seen, ElementsAre("0.png", "1.png", "2.png", "3.png", "4.png", "5.png"));
}

TEST(DataSet, WeightsShareOutTheBatches) {
  const fs::path folder = test::scratch_folder();
  for (int i = 0; i < 8; ++i) write_pair(folder / (i < 6 ? "a" : "b") / concat(i, ".png"), 64, 64);
  const std::string both = (folder / "a").native() + "@3," + (folder / "b").native();
  const DataSet data = DataSet::open(parse_data_specs({both}), options(2));
  std::map<std::string, int> seen;
  constexpr int kSteps = 2000;
  int from_a = 0;
  for (int64_t step = 0; step < kSteps; ++step) {
    const std::vector<std::string> names = data.batch(step, Pixels::none).names;
    EXPECT_EQ(names[0] < "6", names[1] < "6");
    from_a += names[0] < "6";
    for (const std::string& name : names) ++seen[name];
  }
  EXPECT_NEAR(from_a, kSteps * 3 / 4, 70);                                          // 3.6 standard deviations
  for (int i = 0; i < 6; ++i) EXPECT_NEAR(seen[concat(i, ".png")], from_a / 3, 1);  // each source keeps its own epochs
  for (int i = 6; i < 8; ++i) EXPECT_NEAR(seen[concat(i, ".png")], kSteps - from_a, 1);
}

TEST(DataSet, PicturesBrokenInsideAreReplacedAndNamed) {
  const fs::path folder = test::scratch_folder();
  for (int i = 0; i < 4; ++i) write_pair(folder / concat(i, ".png"), 64, 64, "x", i);
  write_text(folder / "2.png", test::png_text(64, 64).substr(0, 100));  // the header is whole
  DataOptions options = train::options(2);
  const DataSet data = DataSet::open(parse_data_specs({folder}), options);
  EXPECT_EQ(data.size(), 4);
  for (int64_t step = 0; step < 4; ++step) {
    const DataBatch batch = data.batch(step);
    for (const std::string& name : batch.names) EXPECT_NE(name, "2.png");
    expect_equal(data.batch(step), data.batch(step));
  }
  EXPECT_THAT(data.failures(), ElementsAre(HasSubstr("2.png: this PNG picture is broken")));
  EXPECT_THAT(data.report()["broken_while_training"], SizeIs(1));
  options.config.broken_pictures = BrokenPicture::fail;
  const DataSet strict = DataSet::open(parse_data_specs({folder}), options);
  EXPECT_THAT(test::usage_error([&] { strict.batch(0), strict.batch(1); }), HasSubstr("2.png"));
  for (int i = 0; i < 4; ++i) fs::remove(folder / concat(i, ".png"));
  EXPECT_THAT(test::usage_error([&] { data.batch(0); }),
              AllOf(HasSubstr("4 pictures in a row are broken"), HasSubstr("No such file")));
}

TEST(DataSet, HoldsOutTheLastOfEverySource) {
  const fs::path folder = test::scratch_folder();
  for (int i = 0; i < 16; ++i) write_pair(folder / "a" / concat(10 + i, ".png"), 64, 64);
  for (int i = 0; i < 32; ++i) write_pair(folder / "b" / concat(10 + i, ".png"), i % 2 ? 64 : 128, 64);
  DataOptions options = train::options(2);
  options.config.areas = {64};
  options.held_out = 3;
  DataSet data = DataSet::open(parse_data_specs({folder / "a", folder / "b"}), options);
  std::multiset<int64_t> kept;
  for (const auto& list : data.lists(DataSet::Which::held_out, 8)) kept.insert(list.begin(), list.end());
  EXPECT_THAT(kept, ElementsAre(15, 46, 47));
  EXPECT_EQ(data.report()["held_out"], 3);
  std::set<int64_t> seen;
  for (int64_t step = 0; step < 60; ++step) {
    const DataBatch batch = data.batch(step, Pixels::none);
    seen.insert(batch.records.begin(), batch.records.end());
  }
  EXPECT_THAT(seen, SizeIs(45));
  EXPECT_FALSE(seen.contains(15) || seen.contains(46) || seen.contains(47));
  data.leave_out({0, 1});
  for (int64_t step = 0; step < 60; ++step) {
    for (int64_t record : data.batch(step, Pixels::none).records) EXPECT_GT(record, 1);
  }
  options.held_out = 1000;  // an eighth at most
  kept.clear();
  const DataSet greedy = DataSet::open(parse_data_specs({folder / "a", folder / "b"}), options);
  for (const auto& list : greedy.lists(DataSet::Which::held_out, 8)) kept.insert(list.begin(), list.end());
  EXPECT_THAT(kept, SizeIs(2 + 4));
}

TEST(DataSet, OnlyTheWorldKnowsWhatItsCellsShow) {
  const fs::path folder = test::scratch_folder();
  write_pair(folder / "a.png", 64, 64);
  DataOptions options = train::options(1);
  options.config.flip = 0.5;
  const DataSet data = DataSet::open(parse_data_specs({folder, "synthetic:20"}), options);
  EXPECT_FALSE(data.labels(0, data.picture(0).framings[0], {2, 2}));
  const Framing whole = data.picture(1).framings[0];
  const auto labels = data.labels(1, whole, {2, 2});
  ASSERT_TRUE(labels);
  EXPECT_THAT(labels->shown, SizeIs(4));
  EXPECT_THAT(labels->parts, SizeIs(4));
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(labels->shown[i] == 0, labels->backgrounds[i] != kNothing);
  Framing mirrored = whole;
  mirrored.mirrored = true;
  EXPECT_FALSE(data.labels(1, mirrored, {2, 2}));
  EXPECT_FALSE(data.labels(1, whole, {1, 2}));
}

TEST(DataSet, IdentitiesFollowTheFile) {
  const fs::path folder = test::scratch_folder();
  write_pair(folder / "a.png", 64, 64);
  write_pair(folder / "b.png", 64, 64);
  const DataSet data = DataSet::open(parse_data_specs({folder}), options(1));
  const std::string first = data.identity(0);
  EXPECT_NE(first, data.identity(1));
  EXPECT_EQ(first, data.identity(0));
  fs::last_write_time(folder / "a.png", fs::file_time_type::clock::now() + std::chrono::hours(1));
  EXPECT_NE(first, data.identity(0));
  EXPECT_NE(DataSet::open(parse_data_specs({folder}), options(1, 96)).identity(1), data.identity(1));
}

TEST(DataSet, ReportsBeforeTheFirstStep) {
  const fs::path folder = mixed_folder();
  write_pair(folder / "mute.png", 64, 64, "");
  write_pair(folder / "tiny.png", 40, 40);
  DataOptions options = train::options(5);
  options.config.last_batch = LastBatch::drop;
  options.config.small_pictures = SmallPicture::skip;
  const DataSet data = DataSet::open(parse_data_specs({folder}), options);
  EXPECT_THAT(data.summary(),
              ElementsAre(AllOf(HasSubstr("12 pictures; 2 skipped"), HasSubstr("1 too_small (tiny.png)"),
                                HasSubstr("1 no_caption (mute.png)")),
                          HasSubstr("2 visits an epoch are left out")));
  const fs::path file = folder / "run" / "data_report.json";
  data.write_report(file);
  std::ifstream stream(file);
  const auto report = nlohmann::json::parse(stream);
  EXPECT_EQ(report["sources"][0]["used"], 12);
  EXPECT_EQ(report["pools"][0]["buckets"].size(), 1U);
  EXPECT_EQ(report["pools"][0]["dropped_visits"], 2);
  EXPECT_EQ(report["config"]["areas"][0], 64);

  options.config.areas = {512};
  EXPECT_THAT(test::usage_error([&] { DataSet::open(parse_data_specs({folder}), options); }),
              HasSubstr("nothing of it can be used"));
  EXPECT_THAT(test::usage_error([&] { DataSet::open({}, options); }), HasSubstr("--data SRC"));
  options = train::options(50);
  options.config.last_batch = LastBatch::drop;
  EXPECT_THAT(test::usage_error([&] { DataSet::open(parse_data_specs({folder}), options); }),
              HasSubstr("no bucket has the 50 pictures of a batch"));
}

}  // namespace
}  // namespace glmimage::train
