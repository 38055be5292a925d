#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "core/error.h"
#include "pipeline/pipeline.h"
#include "train/stage_helpers.h"
#include "train/stages/assemble.h"
#include "train/stages/stages.h"

namespace glmimage::train {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

// The four stages, two steps each, once for all tests here.
class ExportTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    root_ = fresh_folder("export");
    train_vae(tiny_stage("vae", root_ / "vae", 2));
    train_tokenizer(tiny_stage("tokenizer", root_ / "tokenizer", 2));
    StageOptions later = tiny_stage("dit", root_ / "dit", 2);
    later.vae = root_ / "vae/final/vae";
    later.tokenizer = root_ / "tokenizer/final";
    train_dit(later);
    StageOptions ar = tiny_stage("ar", root_ / "ar", 2);
    ar.tokenizer = later.tokenizer;
    train_ar(ar);
  }
  static TrainedParts parts() { return {root_ / "vae/final", root_ / "dit/final", root_ / "ar/final"}; }
  static inline fs::path root_;
};

std::string message_of(const TrainedParts& parts, const fs::path& destination, ErrorKind kind) {
  try {
    assemble_checkpoint(parts, destination);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind);
    return error.what();
  }
  return "nothing was thrown";
}

TEST_F(ExportTest, TheFourResultsDrawAPicture) {
  const fs::path checkpoint = root_ / "checkpoint";
  assemble_checkpoint(parts(), checkpoint);
  EXPECT_FALSE(fs::exists(root_ / "checkpoint.part"));
  const Pipeline pipeline = Pipeline::open({.model = checkpoint, .dtype = at::kFloat, .loras = {}});
  EXPECT_EQ(pipeline.default_size(), 64);
  GenerateRequest request;
  request.prompt = "a cat on a red background with the text \"HI\"";
  request.steps = 2;
  const GenerateResult result = pipeline.generate(request);
  EXPECT_EQ(result.image.width, 64);
  EXPECT_EQ(result.image.height, 64);
  EXPECT_EQ(result.visual_tokens, 4 + 4);  // the draft's and the picture's

  // The picture drawn is a reference for the next one.
  request.references = {result.image};
  EXPECT_EQ(pipeline.generate(request).visual_tokens % 4, 0);
}

TEST_F(ExportTest, TheVaeMayBeNamedItself) {
  TrainedParts parts = ExportTest::parts();
  parts.vae = root_ / "vae/final/vae";
  assemble_checkpoint(parts, root_ / "named/");  // a slash at the end changes nothing
  EXPECT_TRUE(fs::exists(root_ / "named/vae/config.json"));
}

TEST_F(ExportTest, RefusesWhatIsThere) {
  const fs::path taken = root_ / "taken";
  fs::create_directories(taken);
  std::ofstream(taken / "letter.txt") << "mine";
  EXPECT_THAT(message_of(parts(), taken, ErrorKind::usage), HasSubstr("is already there"));
  EXPECT_TRUE(fs::exists(taken / "letter.txt"));
}

TEST_F(ExportTest, NamesTheMissingPart) {
  TrainedParts parts = ExportTest::parts();
  parts.dit = root_ / "nowhere";
  EXPECT_THAT(message_of(parts, root_ / "missing", ErrorKind::checkpoint), HasSubstr("nowhere/transformer"));
  EXPECT_FALSE(fs::exists(root_ / "missing"));
}

TEST_F(ExportTest, RefusesPartsOfTwoPresets) {
  const fs::path other = root_ / "other_vae";
  fs::copy(root_ / "vae/final/vae", other);
  std::ifstream in(other / "config.json");
  nlohmann::json config = nlohmann::json::parse(in);
  in.close();
  config["latent_channels"] = 8;
  config["latents_mean"] = config["latents_std"] = std::vector<double>(8, 1.0);
  std::ofstream(other / "config.json") << config;
  TrainedParts parts = ExportTest::parts();
  parts.vae = other;
  EXPECT_THAT(message_of(parts, root_ / "mixed", ErrorKind::checkpoint), HasSubstr("latent channels"));
  EXPECT_FALSE(fs::exists(root_ / "mixed"));
}

}  // namespace
}  // namespace glmimage::train
