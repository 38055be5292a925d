#include "train/data/record_cache.h"

#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>

#include <mutex>
#include <thread>

#include "train/data/data_helpers.h"

namespace glmimage::train {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

using Item = RecordCache::Item;
using Lists = std::vector<std::vector<Item>>;

// `count` records in lists of three; row n holds n + 1 times n.
Lists make_lists(int64_t count) {
  Lists lists;
  for (int64_t i = 0; i < count; ++i) {
    if (i % 3 == 0) lists.emplace_back();
    lists.back().push_back({i, hash_text(concat("picture ", i))});
  }
  return lists;
}

at::Tensor row_of(int64_t record) { return at::full({record + 1}, record, at::kInt); }

// Counts what is made.
struct Maker {
  std::vector<int64_t> made;
  std::mutex mutex;
  std::set<int64_t> broken;
  RecordCache::Make make() {
    return [this](const std::vector<Item>& list) {
      std::lock_guard lock(mutex);
      RecordCache::Made out;
      for (const Item& item : list) {
        made.push_back(item.record);
        if (broken.contains(item.record)) continue;
        out.items.push_back(item);
        out.rows.push_back(row_of(item.record));
      }
      return out;
    };
  }
};

void expect_rows(const RecordCache& cache, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    EXPECT_TRUE(at::equal(cache.row(hash_text(concat("picture ", i))), row_of(i))) << i;
  }
}

std::vector<fs::path> files_in(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

TEST(RecordCache, MakesEachRowOnceAndFindsItAgain) {
  const fs::path folder = test::scratch_folder() / "cache";
  Maker first, second;
  RecordCache cold(folder, at::kInt);
  EXPECT_FALSE(cold.has(hash_text("picture 0")));
  cold.fill("rows", make_lists(8), first.make(), nullptr);
  EXPECT_THAT(first.made, SizeIs(8));
  expect_rows(cold, 8);
  EXPECT_THAT(files_in(folder), SizeIs(3));  // no locks and no halves
  RecordCache warm(folder, at::kInt);
  warm.fill("rows", make_lists(10), second.make(), nullptr);  // two more pictures: two more rows
  EXPECT_THAT(second.made, ElementsAre(8, 9));
  expect_rows(warm, 10);
}

TEST(RecordCache, GoesOnWhereItWasStopped) {
  const fs::path folder = test::scratch_folder() / "cache";
  Maker maker;
  std::atomic<bool> stop = false;
  const auto make = [&](const std::vector<Item>& list) {
    stop = true;  // a signal while the first list is made
    return maker.make()(list);
  };
  RecordCache(folder, at::kInt).fill("rows", make_lists(9), make, &stop);
  EXPECT_THAT(maker.made, ElementsAre(0, 1, 2));
  test::write_text(folder / "half.safetensors.part", "what a killed run leaves");
  RecordCache again(folder, at::kInt);
  again.fill("rows", make_lists(9), maker.make(), nullptr);
  EXPECT_THAT(maker.made, ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8));
  expect_rows(again, 9);
}

TEST(RecordCache, WhatIsNotWhatWasWrittenIsMadeAnew) {
  const fs::path folder = test::scratch_folder() / "cache";
  Maker maker;
  RecordCache(folder, at::kInt).fill("rows", make_lists(9), maker.make(), nullptr);
  const std::vector<fs::path> files = files_in(folder);
  ASSERT_THAT(files, SizeIs(3));
  fs::resize_file(files[0], fs::file_size(files[0]) - 3);
  {
    std::fstream flip(files[1], std::ios::in | std::ios::out | std::ios::binary);
    flip.seekp(-1, std::ios::end);
    flip.put('\x55');
  }
  test::write_text(files[2], "");
  maker.made.clear();
  testing::internal::CaptureStderr();
  RecordCache again(folder, at::kInt);
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              HasSubstr("does not hold what was written to it; it is made anew"));
  again.fill("rows", make_lists(9), maker.make(), nullptr);
  EXPECT_THAT(maker.made, SizeIs(9));
  expect_rows(again, 9);
  RecordCache other(folder, at::kFloat);  // of another type: not ours
  EXPECT_FALSE(other.has(hash_text("picture 0")));
}

TEST(RecordCache, BrokenRecordsAreTriedAgainAndStopNothing) {
  const fs::path folder = test::scratch_folder() / "cache";
  Maker maker;
  maker.broken = {1, 6, 7, 8};
  RecordCache cache(folder, at::kInt);
  cache.fill("rows", make_lists(9), maker.make(), nullptr);
  EXPECT_FALSE(cache.has(hash_text("picture 1")));
  EXPECT_TRUE(cache.has(hash_text("picture 2")));
  maker.broken.clear(), maker.made.clear();
  cache.fill("rows", make_lists(9), maker.make(), nullptr);
  EXPECT_THAT(maker.made, ElementsAre(1, 6, 7, 8));
  expect_rows(cache, 9);
}

TEST(RecordCache, TwoProcessesShareTheWork) {
  const fs::path folder = test::scratch_folder() / "cache";
  Maker maker;
  const auto slowly = [&](const std::vector<Item>& list) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    return maker.make()(list);
  };
  RecordCache left(folder, at::kInt), right(folder, at::kInt);
  std::thread other([&] { left.fill("left", make_lists(60), slowly, nullptr); });
  right.fill("right", make_lists(60), slowly, nullptr);
  other.join();
  EXPECT_THAT(maker.made, SizeIs(60));  // each once
  expect_rows(left, 60);
  expect_rows(right, 60);
}

TEST(ContentHash, TellsWeightsByWhatTheyAre) {
  const fs::path folder = test::scratch_folder();
  for (const char* name : {"a", "b", "c"}) fs::create_directories(folder / name);
  const at::Tensor large = at::zeros({1 << 20}), small = at::zeros({3});  // 4 MiB, 12 bytes
  write_safetensors(folder / "a" / "model.safetensors", {{"x.large", large}, {"x.small", small}});
  const std::string first = hash_weights(folder / "a");
  write_safetensors(folder / "b" / "model.safetensors", {{"x.small", small}, {"x.large", large}, {"y.more", small}});
  EXPECT_EQ(hash_weights(folder / "b", {"x."}), first);  // the order and other parts do not count
  EXPECT_NE(hash_weights(folder / "b"), first);
  for (const int64_t place : {int64_t{0}, int64_t{(1 << 20) - 1}}) {
    at::Tensor changed = large.clone();
    changed[place] = 1;
    write_safetensors(folder / "c" / "model.safetensors", {{"x.large", changed}, {"x.small", small}});
    EXPECT_NE(hash_weights(folder / "c"), first);
  }
  EXPECT_NE(hash_text("a"), hash_text(std::string_view("a\0", 2)));
}

}  // namespace
}  // namespace glmimage::train
