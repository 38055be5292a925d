// Smaller checkpoints: `quantize` as its users meet it, and what the other commands make of its result.
#include <ATen/TensorOperators.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <signal.h>

#include <fstream>

#include "core/error.h"
#include "core/image.h"
#include "core/json.h"
#include "core/weight_files.h"
#include "e2e/program.h"

namespace glmimage {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using test::expect_failure;
using test::files_in;
using test::glm_image;
using test::ProcessResult;
using test::run_process;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Arguments = std::vector<std::string>;

const std::string kMini = (fs::path(GLM_IMAGE_SOURCE_DIR) / "checkpoints/mini").string();

class Quantize : public ::testing::Test {
 protected:
  void SetUp() override { folder = test::scratch_folder(); }

  static ProcessResult quantize(const std::string& from, const fs::path& to, const Arguments& more) {
    Arguments arguments = {"quantize", from, to.string(), "--threads", "1"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_process(glm_image(arguments));
  }
  std::string prompts(const std::string& content, const std::string& name = "prompts.txt") const {
    std::ofstream(folder / name, std::ios::binary) << content;
    return (folder / name).string();
  }
  // A checkpoint of few bits below the test's folder.
  std::string quantized(const std::string& name, const Arguments& more) {
    const ProcessResult result = quantize(kMini, folder / name, more);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return (folder / name).string();
  }
  Image draw(const std::string& model, const Arguments& more = {}, const std::string& dtype = "float32") {
    Arguments arguments = test::generate(
        model, folder / "a.png",
        {"--prompt", "a red apple on a green background", "--steps", "12", "--seed", "3", "--dtype", dtype});
    arguments.insert(arguments.end(), more.begin(), more.end());
    const ProcessResult result = run_process(glm_image(arguments));
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return load_image(folder / "a.png");
  }

  fs::path folder;
};

double psnr(const Image& a, const Image& b) {
  const auto unit = [](const Image& image) { return at::tensor(image.pixels).to(at::kFloat) / 255; };
  return test::psnr(unit(a), unit(b));
}

TEST_F(Quantize, DrawsTheSamePicture) {
  const Image plain = draw(kMini);
  EXPECT_GT(psnr(plain, draw(quantized("eight", {"--ar", "int8", "--dit", "int8", "--text-encoder", "int8"}))), 45);
  // One scale a row, whatever the group; tokens are rounded too where the processor multiplies bytes.
  const std::string bytes = quantized("bytes", {"--dit", "w8a8", "--group", "192"});
  EXPECT_GT(psnr(plain, draw(bytes)), 30);
  const SafetensorsFile dit = SafetensorsFile::open(bytes + "/transformer/diffusion_pytorch_model.safetensors");
  EXPECT_EQ(dit.tensor("transformer_blocks.0.attn1.to_q.weight_scale").size(1), 1);
  EXPECT_GT(psnr(plain, draw(quantized("mixed", {"--dit", "int4"}))), 25);
  // In bfloat16 too.
  EXPECT_GT(psnr(plain, draw((folder / "eight").string(), {}, "bfloat16")), 20);
  // Stored as bfloat16 already: nothing changes.
  EXPECT_EQ(draw(quantized("same", {"--ar", "bf16", "--dit", "bf16"})).pixels, plain.pixels);
}

TEST_F(Quantize, WritesAWholeCheckpointWithAReport) {
  const std::string small = quantized(
      "small", {"--ar", "int4", "--dit", "int8", "--pattern", "lm_head*=int8", "--pattern", "*.layers.0.*=keep"});
  EXPECT_THAT(files_in(folder), ElementsAre("small"));
  for (const auto& entry : fs::recursive_directory_iterator(kMini)) {
    EXPECT_TRUE(fs::exists(fs::path(small) / fs::relative(entry.path(), kMini))) << entry.path();
  }
  const WeightFiles ar = WeightFiles::open(fs::path(small) / "vision_language_encoder");
  EXPECT_EQ(ar.info("lm_head.weight").dtype, at::kChar);
  EXPECT_EQ(ar.info("model.language_model.layers.1.mlp.down_proj.weight_packed").dtype, at::kInt);
  EXPECT_EQ(ar.info("model.language_model.layers.0.mlp.down_proj.weight").dtype, at::kBFloat16);
  const WeightFiles dit = WeightFiles::open(fs::path(small) / "transformer");
  EXPECT_EQ(dit.info("transformer_blocks.0.attn1.to_q.weight").dtype, at::kChar);
  EXPECT_EQ(dit.info("transformer_blocks.0.norm1.linear.weight").dtype, at::kBFloat16);

  const json report = JsonObject::open(fs::path(small) / "quantisation.json").value();
  ASSERT_FALSE(report["matrices"].empty());
  int64_t saved = 0;
  for (const json& matrix : report["matrices"]) {
    const double error = matrix["error"], limit = matrix["format"] == "int4" ? 0.13 : 0.01;
    EXPECT_GT(error, 0) << matrix;
    EXPECT_LT(error, limit) << matrix;
    saved += matrix["bytes_before"].get<int64_t>() - matrix["bytes_after"].get<int64_t>();
  }
  EXPECT_EQ(saved, report["bytes_before"].get<int64_t>() - report["bytes_after"].get<int64_t>());

  // `inspect` counts values, not words.
  const auto count = [](const std::string& model) {
    const ProcessResult result = run_process(glm_image({"inspect", model, "--json"}));
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return json::parse(result.out)["total"];
  };
  EXPECT_EQ(count(small)["parameters"], count(kMini)["parameters"]);
  EXPECT_LT(count(small)["bytes"], count(kMini)["bytes"]);
}

// As a download cache has it: files that are links to blobs elsewhere; folders named with a slash at their end.
TEST_F(Quantize, FollowsLinks) {
  const fs::path links = folder / "links";
  fs::create_directories(links);
  for (const auto& entry : fs::recursive_directory_iterator(kMini)) {
    const fs::path to = links / entry.path().lexically_relative(kMini);
    if (entry.is_directory() && to.filename() == "vae") {
      fs::create_directory_symlink(entry.path(), to);
    } else if (entry.is_directory()) {
      fs::create_directories(to);
    } else if (!fs::exists(to)) {
      fs::create_symlink(entry.path(), to);
    }
  }
  const ProcessResult result = quantize(links.string() + "/", folder / "small" / "", {"--dit", "int8"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(files_in(folder), ElementsAre("links", "small"));
  EXPECT_FALSE(fs::is_symlink(folder / "small/vae"));
  EXPECT_FALSE(fs::is_symlink(folder / "small/model_index.json"));
  draw((folder / "small").string());
  expect_failure(quantize(links.string(), links / "inside", {"--dit", "int8"}), 2, {"lies in"});
}

TEST_F(Quantize, TakesAdapters) {
  const std::string small = quantized("small", {"--ar", "int8", "--dit", "int8"});
  const std::string adapter = (fs::path(GLM_IMAGE_SOURCE_DIR) / "examples/new_emoji/dit.safetensors").string();
  const Image with = draw(small, {"--lora", adapter}), exact = draw(kMini, {"--lora", adapter});
  EXPECT_GT(psnr(exact, with), 40);
  EXPECT_LT(psnr(draw(small), with), 40) << "the adapter does nothing";
  // One is trained on it as well; all of it cannot be.
  const Arguments train = {"train",     "dit", "--init", small,        "--steps", "1", "--data", "synthetic:16",
                           "--threads", "1",   "--set",  "held_out=0", "--batch", "2", "--out"};
  Arguments lora = train, all = train;
  lora.insert(lora.end(), {(folder / "lora").string(), "--set", "lora.rank=2"});
  all.insert(all.end(), {(folder / "all").string()});
  const ProcessResult trained = run_process(glm_image(lora));
  EXPECT_EQ(trained.exit_code, 0) << trained.err;
  EXPECT_TRUE(fs::exists(folder / "lora/final"));
  expect_failure(run_process(glm_image(all)), 2, {"few bits", "lora.rank"});
}

TEST_F(Quantize, BadRequestsAreRefusedBeforeAnythingIsWritten) {
  const fs::path to = folder / "small";
  expect_failure(quantize(kMini, to, {}), 2, {"nothing to do", "--ar"});
  expect_failure(quantize(kMini, to, {"--ar", "int5"}), 2, {"int5"});
  expect_failure(quantize(kMini, to, {"--ar", "int8", "--group", "48"}), 2, {"48", "multiple of 64"});
  expect_failure(quantize(kMini, to, {"--pattern", "lm_haed*=int8"}), 2, {"lm_haed*", "inspect"});
  expect_failure(quantize(kMini, to, {"--pattern", "lm_head*=int3"}), 2, {"int3", "NAME=FORMAT"});
  expect_failure(quantize(folder.string(), to, {"--ar", "int8"}), 3, {"config.json"});
  expect_failure(quantize((folder / "none").string(), to, {"--ar", "int8"}), 3, {"none"});
  EXPECT_THAT(files_in(folder), IsEmpty());
  fs::create_directory(to);
  expect_failure(quantize(kMini, to, {"--ar", "int8"}), 2, {"is there already"});
  const std::string once = quantized("once", {"--ar", "int8"});
  expect_failure(quantize(once, folder / "twice", {"--dit", "int8"}), 3, {"few bits already"});
  EXPECT_FALSE(fs::exists(folder / "twice"));
}

TEST_F(Quantize, CalibratesAndComparesScenes) {
  const std::string list = prompts("a red apple on a green background\n\na cat with the text \"HI\"\r\n");
  const ProcessResult result = quantize(kMini, folder / "small",
                                        {"--ar", "int4", "--dit", "int4", "--text-encoder", "int4", "--calibrate", list,
                                         "--calibrate-steps", "2", "--check-scenes", "2", "--check-steps", "2"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("pictures 2/2"));
  EXPECT_THAT(result.err, HasSubstr("pictures 4/4"));
  for (const char* text : {"of outputs", "2 pictures", "median", "worst", "quantised", "background"}) {
    EXPECT_THAT(result.out, HasSubstr(text));
  }
  const json report = JsonObject::open(folder / "small/quantisation.json").value();
  EXPECT_EQ(report["calibration"], (json{{"pictures", 2}, {"steps", 2}}));
  const json &check = report["check"], &scores = check["scores"];
  EXPECT_EQ(check["pictures"].size(), 2U);
  EXPECT_EQ(check["steps"], 2);
  EXPECT_GT(check["psnr"]["median"], 15);
  EXPECT_LT(check["psnr"]["median"], 60);
  EXPECT_EQ(scores["source"]["background"]["of"], 2);
  EXPECT_EQ(scores["quantised"]["background"]["of"], 2);

  // Other matrices than without; what comes out of them is nearer than the matrices themselves.
  quantized("plain", {"--ar", "int4", "--dit", "int4", "--text-encoder", "int4"});
  const json plain = JsonObject::open(folder / "plain/quantisation.json").value();
  double matrices = 0, outputs = 0;
  for (size_t i = 0; i < report["matrices"].size(); ++i) {
    const json &with = report["matrices"][i], &without = plain["matrices"][i];
    EXPECT_FALSE(without.contains("output_error"));
    EXPECT_GT(with["error"], 0.9999 * without["error"].get<double>()) << with;
    matrices += with["error"].get<double>(), outputs += with["output_error"].get<double>();
  }
  EXPECT_LT(outputs, 0.98 * matrices);
}

TEST_F(Quantize, ComparesPicturesOfAList) {
  const std::string list = prompts("a cat\na blue star\na dog\n");
  const ProcessResult result =
      quantize(kMini, folder / "small", {"--dit", "int8", "--check", list, "--check-steps", "1", "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const json report = json::parse(result.out), &check = report["check"];
  EXPECT_EQ(report, JsonObject::open(folder / "small/quantisation.json").value());
  EXPECT_FALSE(check.contains("scores"));
  EXPECT_FALSE(report.contains("calibration"));
  ASSERT_EQ(check["pictures"].size(), 3U);
  EXPECT_EQ(check["pictures"][1]["prompt"], "a blue star");
  for (const json& picture : check["pictures"]) EXPECT_GT(picture["psnr"], 35) << picture;
  EXPECT_GE(check["psnr"]["median"], check["psnr"]["worst"]);
}

TEST_F(Quantize, BadListsOfPromptsAreRefusedBeforeAnythingIsDrawn) {
  fs::create_directory(folder / "lists");
  const std::string empty = prompts("\n  \n", "lists/empty.txt"),
                    latin = prompts("a cat\nun caf\xe9\n", "lists/latin.txt"),
                    good = prompts("a cat\n", "lists/good.txt"),
                    model = prompts(std::string(2000000, 'a'), "lists/long.txt");
  for (const char* option : {"--calibrate", "--check"}) {
    const auto refused = [&](const std::string& list, const std::vector<std::string>& says) {
      expect_failure(quantize(kMini, folder / "small", {"--dit", "int8", option, list}), 2, says);
    };
    refused("no/list.txt", {"no/list.txt", "cannot be opened"});
    refused((folder / "lists").string(), {"lists", "folder"});
    refused(empty, {"empty.txt", "no prompt"});
    refused(latin, {"latin.txt:2", "UTF-8"});
    refused(model, {"2000000 bytes"});
    expect_failure(
        quantize(kMini, folder / "small", {"--dit", "int8", option, good, std::string(option) + "-steps", "0"}), 2,
        {"steps"});
  }
  expect_failure(quantize(kMini, folder / "small", {"--dit", "int8", "--check-scenes", "2", "--check-steps", "0"}), 2,
                 {"steps"});
  expect_failure(quantize(kMini, folder / "small", {"--dit", "int8", "--check-scenes", "2", "--check", good}), 2,
                 {"--check"});
  // What quantize itself would refuse is not found out after hours of drawing.
  const ProcessResult result = quantize(kMini, folder / "lists", {"--dit", "int8", "--calibrate", good});
  expect_failure(result, 2, {"is there already"});
  EXPECT_EQ(result.err.find("load"), std::string::npos) << result.err;
  EXPECT_THAT(files_in(folder), ElementsAre("lists"));
}

// Ctrl-C while the calibration draws: nothing is there. While the result is checked: it stays.
TEST_F(Quantize, InterruptedWhileDrawing) {
  const std::string list = prompts("a cat\n");
  const auto interrupt = [&](const Arguments& more, const std::string& when) {
    Arguments arguments = {"quantize", kMini, (folder / "small").string(), "--threads", "1", "--dit", "int8"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    test::Process process(glm_image(arguments));
    EXPECT_TRUE(process.wait_for_error_text(when));
    process.send(SIGINT);
    return process.wait();
  };
  expect_failure(interrupt({"--calibrate", list, "--calibrate-steps", "1000"}, "load 5/5"), 130, {"cancelled"});
  EXPECT_THAT(files_in(folder), ElementsAre("prompts.txt"));
  expect_failure(interrupt({"--check", list, "--check-steps", "1000"}, "tensors "), 130,
                 {"is written, but not checked"});
  EXPECT_THAT(files_in(folder), ElementsAre("prompts.txt", "small"));
  EXPECT_TRUE(fs::exists(folder / "small/quantisation.json"));
}

TEST_F(Quantize, AFullDiskLeavesNothingBehind) {
  auto command = glm_image({"quantize", kMini, (folder / "small").string(), "--dit", "int8"});
  command.file_size_limit = 1 << 20;
  expect_failure(run_process(command), 1, {"small"});
  EXPECT_THAT(files_in(folder), IsEmpty());
}

TEST_F(Quantize, ABrokenResultIsNamed) {
  const std::string small = quantized("small", {"--dit", "int8"});
  const fs::path file = fs::path(small) / "transformer/diffusion_pytorch_model.safetensors";
  NamedTensors tensors;
  {
    const SafetensorsFile whole = SafetensorsFile::open(file);
    for (const TensorInfo& info : whole.tensors()) {
      if (info.name != "transformer_blocks.0.attn1.to_q.weight_scale") {
        tensors.emplace_back(info.name, whole.tensor(info.name).clone());
      }
    }
  }
  write_safetensors(file, tensors);
  expect_failure(run_process(glm_image(test::generate(small, folder / "a.png", {"--prompt", "a cat"}))), 3,
                 {"transformer_blocks.0.attn1.to_q.weight_scale is missing"});
}

}  // namespace
}  // namespace glmimage
