// The command line as its users meet it: help, exit codes, JSON, several pictures, odd sizes, Ctrl-C.
#include <gmock/gmock.h>
#include <signal.h>

#include <fstream>

#include "core/image.h"
#include "e2e/program.h"

namespace glmimage {
namespace {

using nlohmann::json;
using test::checkpoint;
using test::generate;
using test::glm_image;
using test::ProcessOptions;
using test::ProcessResult;
using test::run_process;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Arguments = std::vector<std::string>;

const Arguments kTwoSteps = {"--steps", "2", "--seed", "5"};

Arguments with(Arguments first, const Arguments& more) {
  first.insert(first.end(), more.begin(), more.end());
  return first;
}

ProcessResult draw(const std::filesystem::path& output, const Arguments& more) {
  return run_process(glm_image(generate(checkpoint("tiny_a"), output, with(kTwoSteps, more))));
}

TEST(Cli, TellsItsVersion) {
  const ProcessResult result = run_process(glm_image({"--version"}));
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_THAT(result.out, HasSubstr("glm-image "));
  EXPECT_THAT(result.out, HasSubstr("LibTorch "));
}

TEST(Cli, HelpHasExamplesAtEveryLevel) {
  for (const Arguments& command : {Arguments{}, {"generate"}, {"eval"}, {"inspect"}, {"train"}}) {
    const ProcessResult result = run_process(glm_image(with(command, {"--help"})));
    EXPECT_EQ(result.exit_code, 0);
    EXPECT_THAT(result.out, HasSubstr("Examples:\n  glm-image "));
    EXPECT_EQ(result.err, "");
  }
}

TEST(Cli, RefusesBadUsage) {
  expect_failure(run_process(glm_image({"generate", "--no-such-flag"})), 2, {"--no-such-flag", "--help"});
  expect_failure(run_process(glm_image({"paint"})), 2, {"paint"});
  expect_failure(run_process(glm_image({})), 2, {"subcommand"});
}

TEST(Cli, RefusesBadValues) {
  const auto output = test::scratch_folder() / "a.png";
  expect_failure(draw(output, {"--prompt", "cat", "--width", "many"}), 2, {"--width"});
  expect_failure(draw(output, {"--prompt", "cat", "--dtype", "int4"}), 2, {"int4"});
  expect_failure(draw(output, {"--prompt", "cat", "--device", "abacus"}), 2, {"abacus"});
}

TEST(Cli, MissingModel) {
  const auto output = test::scratch_folder() / "a.png";
  expect_failure(run_process(glm_image(generate("no/such/model", output, {"--prompt", "cat"}))), 3,
                 {"no/such/model", "--model"});
}

// A device whose library is not installed, and one whose library is named but absent.
TEST(Cli, MissingDevice) {
  const auto output = test::scratch_folder() / "a.png";
  for (const std::string device : {"cuda", "npu"}) {
    ProcessOptions options = glm_image(generate(checkpoint("tiny_a"), output, {"--prompt", "cat", "--device", device}));
    options.environment["GLM_IMAGE_DEVICE_LIBRARY"] = "/no/such/library.so";
    expect_failure(run_process(options), 4, {device, "/no/such/library.so"});
  }
  expect_failure(draw(output, {"--prompt", "cat", "--device", "npu"}), 4, {"npu", "libtorch_npu.so"});
}

// Only where no CUDA build lies beside the LibTorch in use.
TEST(Cli, MissingCuda) {
  const ProcessResult result = draw(test::scratch_folder() / "a.png", {"--prompt", "cat", "--device", "cuda"});
  if (result.exit_code == 0) GTEST_SKIP() << "this machine has CUDA";
  expect_failure(result, 4, {"cuda"});
}

TEST(Cli, JsonTellsTheResult) {
  const auto output = test::scratch_folder() / "a.png";
  const ProcessResult result =
      draw(output, {"--prompt", "cat", "--width", "64", "--height", "32", "--json", "--dtype", "float32"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const json value = json::parse(result.out);
  EXPECT_EQ(value["device"], "cpu");
  EXPECT_EQ(value["dtype"], "float32");
  EXPECT_EQ(value["threads"], 1);
  ASSERT_EQ(value["pictures"].size(), 1u);
  const json& picture = value["pictures"][0];
  EXPECT_EQ(picture["path"], output.string());
  EXPECT_EQ(picture["prompt"], "cat");
  EXPECT_EQ(picture["seed"], 5);
  EXPECT_EQ(picture["width"], 64);
  EXPECT_EQ(picture["height"], 32);
  EXPECT_EQ(picture["steps"], 2);
  EXPECT_GT(picture["visual_tokens"].get<int64_t>(), 2);
  for (const char* stage : {"visual_tokens", "denoise", "decode"}) EXPECT_GT(picture["seconds"][stage], 0.0) << stage;
  // The weights are four bytes each in float32, and the process holds at least them.
  const int64_t weights = value["memory"]["weight_bytes"], peak = value["memory"]["peak_bytes"];
  const json inspected = json::parse(run_process(glm_image({"inspect", checkpoint("tiny_a"), "--json"})).out)["total"];
  EXPECT_GT(weights, 0);
  EXPECT_LE(weights, inspected["bytes_needed"]["float32"].get<int64_t>());
  EXPECT_GE(weights, inspected["bytes_needed"]["float32"].get<int64_t>() * 9 / 10);
  EXPECT_GT(peak, weights);
  EXPECT_LT(peak, int64_t{4} << 30);
}

TEST(Cli, JsonTellsTheError) {
  const ProcessResult result = draw(test::scratch_folder() / "a.png", {"--prompt", "cat", "--steps", "0", "--json"});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_EQ(json::parse(result.out)["error"]["exit_code"], 2);

  const ProcessResult missing =
      run_process(glm_image(generate("no/model", test::scratch_folder() / "a.png", {"--prompt", "cat", "--json"})));
  EXPECT_EQ(missing.exit_code, 3);
  const json error = json::parse(missing.out)["error"];
  EXPECT_EQ(error["kind"], "checkpoint");
  EXPECT_EQ(error["exit_code"], 3);
  EXPECT_THAT(error["message"].get<std::string>(), HasSubstr("no/model"));
  EXPECT_EQ(missing.out, missing.err);
}

TEST(Cli, CountDrawsWhatEachSeedDrawsAlone) {
  const auto folder = test::scratch_folder();
  const Arguments small = {"--prompt", "cat", "--width", "32", "--height", "32", "--steps", "2", "--quiet"};
  const auto draw_seed = [&](const std::string& seed, const std::string& name, const Arguments& more) {
    return run_process(
        glm_image(generate(checkpoint("tiny_a"), folder / name, with(with(small, {"--seed", seed}), more))));
  };
  ASSERT_EQ(draw_seed("5", "a.png", {"--count", "2"}).exit_code, 0);
  EXPECT_THAT(test::files_in(folder), ElementsAre("a-1.png", "a-2.png"));
  ASSERT_EQ(draw_seed("6", "six.png", {}).exit_code, 0);
  ASSERT_EQ(draw_seed("5", "five.png", {}).exit_code, 0);
  EXPECT_EQ(load_image(folder / "a-1.png").pixels, load_image(folder / "five.png").pixels);
  EXPECT_EQ(load_image(folder / "a-2.png").pixels, load_image(folder / "six.png").pixels);
  EXPECT_NE(load_image(folder / "a-1.png").pixels, load_image(folder / "a-2.png").pixels);
}

TEST(Cli, ReadsPromptsFromFileAndStandardInput) {
  const auto folder = test::scratch_folder();
  std::ofstream(folder / "prompts.txt") << "a cat\n\n  \na dog\r\n";
  const Arguments small = {"--width", "32", "--height", "32", "--json"};
  const ProcessResult from_file =
      draw(folder / "f.png", with(small, {"--prompt-file", (folder / "prompts.txt").string()}));
  ASSERT_EQ(from_file.exit_code, 0) << from_file.err;
  const json pictures = json::parse(from_file.out)["pictures"];
  ASSERT_EQ(pictures.size(), 2u);
  EXPECT_EQ(pictures[0]["prompt"], "a cat");
  EXPECT_EQ(pictures[1]["prompt"], "a dog");

  ProcessOptions options =
      glm_image(generate(checkpoint("tiny_a"), folder / "i.png", with(with(kTwoSteps, small), {"--prompt-file", "-"})));
  options.input = "a dog";
  const ProcessResult from_input = run_process(options);
  ASSERT_EQ(from_input.exit_code, 0) << from_input.err;
  EXPECT_EQ(json::parse(from_input.out)["pictures"][0]["prompt"], "a dog");
  EXPECT_EQ(load_image(folder / "i.png").pixels, load_image(folder / "f-2.png").pixels);
}

TEST(Cli, MissingPromptOrPromptFile) {
  const auto output = test::scratch_folder() / "a.png";
  expect_failure(draw(output, {}), 2, {"no prompt"});  // standard input is empty
  expect_failure(draw(output, {"--prompt-file", "no/prompts.txt"}), 2, {"no/prompts.txt"});
}

TEST(Cli, DrawsOddSizesExactly) {
  const auto folder = test::scratch_folder();
  for (const auto& [width, height] : {std::pair{70, 50}, {33, 1}}) {
    const ProcessResult result = draw(folder / "odd.png", {"--prompt", "cat", "--width", std::to_string(width),
                                                           "--height", std::to_string(height), "--quiet"});
    ASSERT_EQ(result.exit_code, 0) << result.err;
    const Image image = load_image(folder / "odd.png");
    EXPECT_EQ(image.width, width);
    EXPECT_EQ(image.height, height);
  }
}

// The picture asked for is the middle of the next larger one the model can draw.
TEST(Cli, CropsTheMiddle) {
  const auto folder = test::scratch_folder();
  ASSERT_EQ(draw(folder / "odd.png", {"--prompt", "cat", "--width", "60", "--height", "30"}).exit_code, 0);
  ASSERT_EQ(draw(folder / "whole.png", {"--prompt", "cat", "--width", "64", "--height", "32"}).exit_code, 0);
  EXPECT_EQ(load_image(folder / "odd.png").pixels, crop(load_image(folder / "whole.png"), 2, 1, 60, 30).pixels);
}

TEST(Cli, EditsPicturesOfOddSize) {
  const auto folder = test::scratch_folder();
  const ProcessResult result = draw(folder / "edit.png", {"--image", test::golden("pictures/odd101x77.png"), "--prompt",
                                                          "make it night", "--width", "64", "--height", "32"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(load_image(folder / "edit.png").width, 64);
}

TEST(Cli, QuietIsQuiet) {
  const auto folder = test::scratch_folder();
  const Arguments small = {"--prompt", "cat", "--width", "32", "--height", "32"};
  const ProcessResult quiet = draw(folder / "a.png", with(small, {"--quiet"}));
  EXPECT_EQ(quiet.exit_code, 0);
  EXPECT_EQ(quiet.err, "");
  EXPECT_EQ(quiet.out, "");
  const ProcessResult usual = draw(folder / "a.png", small);
  EXPECT_THAT(usual.out, HasSubstr("a.png (32 x 32, seed 5)"));
  EXPECT_THAT(usual.err, HasSubstr("denoise 2/2"));
}

TEST(Cli, CachesReusePassesAndSaySo) {
  const auto folder = test::scratch_folder();
  const auto draw_cached = [&](const std::string& name, const Arguments& more) {
    const Arguments twelve = {"--prompt", "cat", "--image",  test::golden("pictures/odd101x77.png"),
                              "--width",  "64",  "--height", "32",
                              "--steps",  "12",  "--seed",   "5"};
    const ProcessResult result =
        run_process(glm_image(generate(checkpoint("tiny_a"), folder / name, with(twelve, more))));
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result;
  };
  const json plain = json::parse(draw_cached("plain.png", {"--json"}).out)["pictures"][0];
  EXPECT_EQ(plain["cache"], (json{{"method", "none"}}));
  EXPECT_EQ(plain["passes"], 24);
  EXPECT_EQ(plain["reused_passes"], 0);
  draw_cached("none.png", {"--cache", "none"});
  draw_cached("zero.png", {"--cache", "first-block", "--cache-threshold", "0"});
  for (const char* same : {"none.png", "zero.png"}) {
    EXPECT_EQ(load_image(folder / same).pixels, load_image(folder / "plain.png").pixels) << same;
  }

  const Arguments first_block = {"--cache", "first-block", "--cache-threshold", "100", "--cache-interval", "2"};
  const json reused = json::parse(draw_cached("first.png", with(first_block, {"--json"})).out)["pictures"][0];
  EXPECT_EQ(reused["cache"], (json{{"method", "first-block"}, {"threshold", 100.0}, {"interval", 2}}));
  EXPECT_EQ(reused["reused_passes"], 2 * 5);
  const Arguments taylor = {"--cache", "taylor", "--cache-interval", "4"};
  EXPECT_THAT(draw_cached("taylor.png", taylor).out, HasSubstr("(64 x 32, seed 5, 16 of 24 passes reused)"));
  EXPECT_NE(load_image(folder / "taylor.png").pixels, load_image(folder / "plain.png").pixels);
  draw_cached("again.png", taylor);
  EXPECT_EQ(load_image(folder / "again.png").pixels, load_image(folder / "taylor.png").pixels);
}

TEST(Cli, RefusesBadCaches) {
  const auto folder = test::scratch_folder();
  const auto refused = [&](const Arguments& more, const std::vector<std::string>& fragments) {
    expect_failure(draw(folder / "a.png", with({"--prompt", "cat"}, more)), 2, fragments);
  };
  refused({"--cache", "magic"}, {"none, first-block or taylor", "magic"});
  refused({"--cache", "first-block", "--cache-threshold", "-1"}, {"threshold", "between 0 and 100", "-1"});
  refused({"--cache", "first-block", "--cache-threshold", "nan"}, {"threshold", "between 0 and 100"});
  refused({"--cache", "first-block", "--cache-threshold", "much"}, {"--cache-threshold", "much"});
  refused({"--cache", "taylor", "--cache-interval", "0"}, {"interval", "between 1", "0"});
  refused({"--cache", "taylor", "--cache-threshold", "0.1"}, {"threshold", "first-block", "taylor"});
  refused({"--cache-interval", "3"}, {"interval", "none"});
  EXPECT_THAT(test::files_in(folder), ::testing::IsEmpty());
}

TEST(Cli, RefusesTraceOfSeveralPictures) {
  const auto folder = test::scratch_folder();
  expect_failure(draw(folder / "a.png", {"--prompt", "cat", "--count", "2", "--trace", (folder / "t").string()}), 2,
                 {"--trace", "--count"});
}

// Ctrl-C in the middle of the work: exit code 130 within a second, and no half-written file.
TEST(Cli, InterruptLeavesNothing) {
  for (const int signal : {SIGINT, SIGTERM}) {
    const auto folder = test::scratch_folder();
    test::Process process(glm_image(generate(checkpoint("tiny_a"), folder / "a.png",
                                             {"--prompt", "cat", "--width", "256", "--height", "256", "--steps", "1000",
                                              "--trace", (folder / "t.safetensors").string()})));
    ASSERT_TRUE(process.wait_for_error_text("load 5/5")) << process.wait().err;
    const auto sent = std::chrono::steady_clock::now();
    process.send(signal);
    const ProcessResult result = process.wait();
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - sent).count();
    expect_failure(result, 130, {"cancelled"});
    EXPECT_LT(seconds, 1);
    EXPECT_THAT(test::files_in(folder), ::testing::IsEmpty());
  }
}

// Threads that wait must not hold the cores of others (src/cli/spin_count.cpp).
TEST(Cli, WaitingThreadsSpinBriefly) {
  const auto environment_of = [](const std::string& name, const std::string& value) {
    ProcessOptions options = glm_image(
        generate(checkpoint("tiny_a"), test::scratch_folder() / "a.png", {"--prompt", "cat", "--steps", "1000"}));
    options.environment["GOMP_SPINCOUNT"] = options.environment["OMP_WAIT_POLICY"] = "";
    options.environment[name] = value;
    test::Process process(options);
    EXPECT_TRUE(process.wait_for_error_text("load 5/5")) << process.wait().err;
    return process.environment();
  };
  EXPECT_THAT(environment_of("GOMP_SPINCOUNT", ""), HasSubstr("GOMP_SPINCOUNT=1000"));
  EXPECT_THAT(environment_of("GOMP_SPINCOUNT", "7"), HasSubstr(std::string("GOMP_SPINCOUNT=7\0", 17)));
  EXPECT_THAT(environment_of("OMP_WAIT_POLICY", "active"), ::testing::Not(HasSubstr("GOMP_SPINCOUNT")));
}

TEST(Cli, InspectAddsUp) {
  const ProcessResult table = run_process(glm_image({"inspect", checkpoint("tiny_b")}));
  ASSERT_EQ(table.exit_code, 0) << table.err;
  for (const char* text : {"transformer", "vision_language_encoder", "text_encoder", "vae", "weights in memory"}) {
    EXPECT_THAT(table.out, HasSubstr(text));
  }
  const json value = json::parse(run_process(glm_image({"inspect", checkpoint("tiny_b"), "--json", "--tensors"})).out);
  int64_t tensors = 0, parameters = 0, bytes = 0;
  for (const json& part : value["parts"]) {
    tensors += part["tensors"].get<int64_t>();
    parameters += part["parameters"].get<int64_t>();
    bytes += part["bytes"].get<int64_t>();
    EXPECT_EQ(part["tensor_list"].size(), part["tensors"]);
    const std::string name = part["name"];
    const size_t files = name == "transformer" ? 3 : name == "vision_language_encoder" ? 4 : part["files"].size();
    EXPECT_EQ(part["files"].size(), files) << name;
  }
  EXPECT_GT(parameters, 0);
  EXPECT_EQ(value["total"]["tensors"], tensors);
  EXPECT_EQ(value["total"]["parameters"], parameters);
  EXPECT_EQ(value["total"]["bytes"], bytes);
  EXPECT_EQ(value["total"]["bytes_needed"]["float32"], parameters * 4);
}

TEST(Cli, InspectOfPartsAndFiles) {
  const std::string vae = checkpoint("tiny_a") + "/vae";
  const json part = json::parse(run_process(glm_image({"inspect", vae, "--json"})).out);
  const json file =
      json::parse(run_process(glm_image({"inspect", vae + "/diffusion_pytorch_model.safetensors", "--json"})).out);
  EXPECT_EQ(part["total"], file["total"]);
  EXPECT_GT(file["total"]["tensors"], 0);
  expect_failure(run_process(glm_image({"inspect", "no/such/file"})), 3, {"no/such/file"});
}

}  // namespace
}  // namespace glmimage
