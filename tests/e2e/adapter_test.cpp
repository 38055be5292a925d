// Training as a stranger meets it: a folder of pictures, an adapter, a picture drawn with it.
#include <gmock/gmock.h>

#include <fstream>

#include "core/image.h"
#include "e2e/program.h"
#include "train/stage_helpers.h"

namespace glmimage {
namespace {

namespace fs = std::filesystem;
using test::generate;
using test::glm_image;
using test::run_process;
using ::testing::HasSubstr;
using Arguments = std::vector<std::string>;

test::ProcessResult train(Arguments arguments, const fs::path& folder) {
  arguments.insert(arguments.begin(), "train");
  arguments.insert(arguments.end(), {"--threads", "1"});
  test::ProcessOptions options = glm_image(arguments);
  options.folder = folder;
  options.limit = std::chrono::minutes(10);
  return run_process(options);
}

TEST(Adapter, OfAFolderOfTwoHundredPictures) {
  const fs::path folder = test::scratch_folder();
  train::album(folder / "photos", 200);
  const Arguments small = {"--preset", "tiny", "--data", "synthetic:64", "--batch", "4", "--steps", "20"};
  const auto run = [&](Arguments arguments, const Arguments& more) {
    arguments.insert(arguments.end(), more.begin(), more.end());
    const test::ProcessResult result = train(arguments, folder);
    EXPECT_EQ(result.exit_code, 0) << arguments[0] << "\n" << result.err;
    return result;
  };
  run({"vae", "--out", "vae"}, small);
  run({"tokenizer", "--out", "tokenizer"}, small);
  run({"dit", "--out", "dit", "--vae", "vae/final", "--tokenizer", "tokenizer/final"}, small);
  run({"ar", "--out", "ar", "--tokenizer", "tokenizer/final"}, small);
  run({"assemble", "--out", "base", "--vae", "vae/final", "--dit", "dit/final", "--ar", "ar/final"}, {});

  const Arguments adapter = {"dit", "--init", "base",        "--data",  "photos", "--out",           "style", "--steps",
                             "30",  "--set",  "lora.rank=4", "--batch", "4",      "--learning-rate", "0.01"};
  const test::ProcessResult cold = run(adapter, {});
  EXPECT_THAT(cold.err, HasSubstr("photos: 200 pictures"));
  EXPECT_THAT(cold.err, HasSubstr("latents: 200 to encode"));
  fs::remove_all(folder / "style/final");
  fs::remove_all(folder / "style/state");
  const test::ProcessResult warm = run(adapter, {});
  EXPECT_EQ(warm.err.find("to encode"), std::string::npos);

  const auto draw = [&](const std::string& name, const Arguments& more) {
    Arguments arguments = {"--prompt", "disc number 7", "--steps", "3", "--seed", "5", "--dtype", "float32"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const auto result = run_process(glm_image(generate((folder / "base").string(), folder / name, arguments)));
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return load_image(folder / name).pixels;
  };
  const std::string file = (folder / "style/final/adapter.safetensors").string();
  const auto plain = draw("plain.png", {});
  EXPECT_NE(draw("styled.png", {"--lora", file}), plain);
  EXPECT_EQ(draw("zero.png", {"--lora", file + ":0"}), plain);
}

}  // namespace
}  // namespace glmimage
