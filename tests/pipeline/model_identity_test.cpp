#include "pipeline/model_identity.h"

#include <gmock/gmock.h>

#include <fstream>

#include "core/error.h"
#include "core/sha256.h"
#include "support/goldens.h"

namespace glmimage {
namespace {

namespace fs = std::filesystem;

fs::path copy_of_checkpoint() {
  const fs::path folder = test::scratch_folder() / "tiny";
  fs::copy(test::golden("tiny_a/checkpoint"), folder, fs::copy_options::recursive);
  return folder;
}

// XORs one byte.
void damage(const fs::path& file, int64_t at) {
  std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
  stream.seekg(at);
  const char byte = static_cast<char>(stream.get() ^ 1);
  stream.seekp(at);
  stream.put(byte);
  ASSERT_TRUE(stream.good());
}

TEST(ModelIdentity, IsTheContentsAndNotThePlace) {
  const fs::path copy = copy_of_checkpoint();
  const ModelIdentity here = identify_model(copy), there = identify_model(test::golden("tiny_a/checkpoint"));
  EXPECT_EQ(here.hash, there.hash);
  EXPECT_EQ(here.hash.size(), 64U);
  EXPECT_EQ(here.name, "tiny");
  EXPECT_EQ(identify_model(copy.string() + "/").name, "tiny");
  EXPECT_NE(here.hash, identify_model(test::golden("tiny_b/checkpoint")).hash);
  std::ofstream(copy / "README.md") << "of no account";
  EXPECT_EQ(identify_model(copy).hash, here.hash);
}

TEST(ModelIdentity, AnyTensorAndAnySettingCounts) {
  const fs::path copy = copy_of_checkpoint();
  const std::string before = identify_model(copy).hash;
  const fs::path weights = copy / "transformer" / "diffusion_pytorch_model.safetensors";
  const SafetensorsFile file = SafetensorsFile::open(weights);
  for (const TensorInfo& info : file.tensors()) {
    const int64_t middle = static_cast<int64_t>(info.begin + (info.end - info.begin) / 2);
    damage(weights, middle);
    EXPECT_NE(identify_model(copy).hash, before) << info.name;
    damage(weights, middle);
  }
  EXPECT_EQ(identify_model(copy).hash, before);
  std::ofstream(copy / "scheduler" / "scheduler_config.json", std::ios::app) << " ";
  EXPECT_NE(identify_model(copy).hash, before);
}

std::string refusal(const fs::path& folder) {
  try {
    identify_model(folder);
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::checkpoint);
    return e.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return "";
}

TEST(ModelIdentity, SaysWhatIsMissing) {
  const fs::path copy = copy_of_checkpoint();
  fs::remove_all(copy / "vae");
  EXPECT_THAT(refusal(copy), ::testing::HasSubstr((copy / "vae").string()));
  fs::remove_all(copy);
  EXPECT_THAT(refusal(copy), ::testing::HasSubstr(copy.string() + ": there is no such folder"));
}

TEST(ModelIdentity, AdaptersAreTheirFiles) {
  const fs::path folder = test::golden("tiny_a/lora/dit");
  const fs::path file = folder / "adapter_model.safetensors";
  std::ifstream in(file, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(in)), {});
  EXPECT_EQ(identify_adapter(folder).hash, sha256_hex(bytes));
  EXPECT_EQ(identify_adapter(file).hash, sha256_hex(bytes));
  EXPECT_EQ(identify_adapter(folder).name, "dit");
  EXPECT_EQ(identify_adapter(file).name, "adapter_model.safetensors");
}

TEST(ModelIdentity, PicturesAreTheirPixels) {
  const Image wide{2, 1, {1, 2, 3, 4, 5, 6}}, high{1, 2, {1, 2, 3, 4, 5, 6}};
  EXPECT_EQ(hash_picture(wide), sha256_hex(std::string("2x1\n\x01\x02\x03\x04\x05\x06")));
  EXPECT_NE(hash_picture(wide), hash_picture(high));
}

}  // namespace
}  // namespace glmimage
