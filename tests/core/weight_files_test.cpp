#include "core/weight_files.h"

#include <ATen/ops/full.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "support/goldens.h"

namespace glmimage {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

at::Tensor value(double x) { return at::full({1}, x, at::kFloat); }  // (1)

void write_index(const fs::path& folder, const std::map<std::string, std::string>& weight_map,
                 const std::string& stem = "model") {
  std::ofstream(folder / (stem + ".safetensors.index.json")) << nlohmann::json{{"weight_map", weight_map}};
}

std::string refusal(const fs::path& folder) {
  try {
    WeightFiles::open(folder);
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::checkpoint);
    EXPECT_THAT(e.what(), HasSubstr(folder.string()));
    return e.what();
  }
  ADD_FAILURE() << folder << " was accepted";
  return "";
}

double item(const WeightFiles& files, const std::string& name) { return files.tensor(name).item<float>(); }

TEST(WeightFiles, ReadsOneFile) {
  const fs::path folder = test::scratch_folder();
  write_safetensors(folder / "diffusion_pytorch_model.safetensors", {{"b", value(2)}, {"a", value(1)}});
  std::ofstream(folder / "config.json") << "{}";
  const WeightFiles files = WeightFiles::open(folder);
  EXPECT_THAT(files.names(), ElementsAre("a", "b"));
  EXPECT_TRUE(files.has("a"));
  EXPECT_FALSE(files.has("c"));
  EXPECT_EQ(files.info("a").shape, std::vector<int64_t>{1});
  EXPECT_EQ(item(files, "b"), 2);
  EXPECT_THROW(files.tensor("c"), Error);
  EXPECT_THROW(files.info("c"), Error);
}

TEST(WeightFiles, ReadsShards) {
  const fs::path folder = test::scratch_folder();
  write_safetensors(folder / "model-1.safetensors", {{"a", value(1)}});
  write_safetensors(folder / "model-2.safetensors", {{"b", value(2)}, {"unlisted", value(3)}});
  write_index(folder, {{"a", "model-1.safetensors"}, {"b", "model-2.safetensors"}});
  const WeightFiles files = WeightFiles::open(folder);
  // A tensor the index forgot is seen too, so that load_parameters can report it.
  EXPECT_THAT(files.names(), ElementsAre("a", "b", "unlisted"));
  EXPECT_EQ(files.files().size(), 2U);
  EXPECT_EQ(item(files, "b"), 2);
}

TEST(WeightFiles, PrefersTheIndexThenTheUsualNames) {
  const fs::path folder = test::scratch_folder();
  write_safetensors(folder / "other.safetensors", {{"a", value(1)}});
  EXPECT_EQ(item(WeightFiles::open(folder), "a"), 1);
  write_safetensors(folder / "another.safetensors", {{"a", value(1)}});
  EXPECT_THAT(refusal(folder), HasSubstr("could be the weights (another.safetensors, other.safetensors)"));
  write_safetensors(folder / "diffusion_pytorch_model.safetensors", {{"a", value(2)}});
  EXPECT_EQ(item(WeightFiles::open(folder), "a"), 2);
  write_safetensors(folder / "model.safetensors", {{"a", value(3)}});
  EXPECT_EQ(item(WeightFiles::open(folder), "a"), 3);
  write_safetensors(folder / "shard.safetensors", {{"a", value(4)}});
  write_index(folder, {{"a", "shard.safetensors"}}, "diffusion_pytorch_model");
  EXPECT_EQ(item(WeightFiles::open(folder), "a"), 4);
  write_safetensors(folder / "shard2.safetensors", {{"a", value(5)}});
  write_index(folder, {{"a", "shard2.safetensors"}});
  EXPECT_EQ(item(WeightFiles::open(folder), "a"), 5);
}

TEST(WeightFiles, RefusesFoldersWithoutWeights) {
  const fs::path folder = test::scratch_folder();
  EXPECT_THAT(refusal(folder / "absent"), HasSubstr("No such file"));
  EXPECT_THAT(refusal(folder), HasSubstr("holds no safetensors weights"));
  std::ofstream(folder / "pytorch_model.bin") << "x";
  EXPECT_THAT(refusal(folder), HasSubstr("must be converted"));
}

TEST(WeightFiles, RefusesBrokenIndexes) {
  const fs::path folder = test::scratch_folder();
  const fs::path index = folder / "model.safetensors.index.json";
  for (const char* text :
       {"", "[]", "{}", R"({"weight_map":[]})", R"({"weight_map":{}})", R"({"weight_map":{"a":1}})"}) {
    std::ofstream(index) << text;
    EXPECT_THAT(refusal(folder), HasSubstr("index.json"));
  }
}

TEST(WeightFiles, RefusesShardsOutsideTheFolder) {
  const fs::path folder = test::scratch_folder() / "part";
  fs::create_directory(folder);
  write_safetensors(folder.parent_path() / "x.safetensors", {{"a", value(1)}});
  for (const std::string& shard : {std::string("../x.safetensors"), (folder.parent_path() / "x.safetensors").string(),
                                   std::string("sub/x.safetensors"), std::string("..\\x.safetensors"), std::string(""),
                                   std::string(".."), std::string("x.bin")}) {
    write_index(folder, {{"a", shard}});
    EXPECT_THAT(refusal(folder), HasSubstr("should name a .safetensors file in the same folder"));
  }
}

TEST(WeightFiles, RefusesMissingShardsAllAtOnce) {
  const fs::path folder = test::scratch_folder();
  write_safetensors(folder / "1.safetensors", {{"a", value(1)}});
  write_index(folder, {{"a", "1.safetensors"}, {"b", "2.safetensors"}, {"c", "3.safetensors"}});
  EXPECT_THAT(refusal(folder), HasSubstr("2 of its 3 weight files are missing: 2.safetensors, 3.safetensors"));
}

TEST(WeightFiles, RefusesShardsThatDoNotFitTheIndex) {
  const fs::path folder = test::scratch_folder();
  write_safetensors(folder / "1.safetensors", {{"a", value(1)}});
  write_safetensors(folder / "2.safetensors", {{"b", value(2)}});
  write_index(folder, {{"a", "1.safetensors"}, {"b", "2.safetensors"}, {"c", "2.safetensors"}});
  EXPECT_THAT(refusal(folder), HasSubstr("1 tensors are not in the files it names: c (2.safetensors)"));
  write_index(folder, {{"a", "2.safetensors"}, {"b", "1.safetensors"}});
  EXPECT_THAT(refusal(folder), HasSubstr("2 tensors are not in the files it names"));
  write_safetensors(folder / "2.safetensors", {{"a", value(2)}, {"b", value(2)}});
  write_index(folder, {{"a", "1.safetensors"}, {"b", "2.safetensors"}});
  EXPECT_THAT(refusal(folder), HasSubstr("tensor 'a' is in two files, 1.safetensors and 2.safetensors"));
  std::ofstream(folder / "2.safetensors") << "broken";
  EXPECT_THAT(refusal(folder), HasSubstr("2.safetensors"));
}

TEST(WeightFiles, ReadsThePublishedLayouts) {
  const WeightFiles single = WeightFiles::open(test::golden("tiny_a/checkpoint/transformer"));
  EXPECT_EQ(single.files().size(), 1U);
  const WeightFiles shards = WeightFiles::open(test::golden("tiny_b/checkpoint/transformer"));
  EXPECT_EQ(shards.files().size(), 3U);
  for (const std::string& name : shards.names()) EXPECT_EQ(shards.tensor(name).sizes(), shards.info(name).shape);
}

}  // namespace
}  // namespace glmimage
