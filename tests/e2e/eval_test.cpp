// `glm-image eval` as its users meet it, with the real tesseract where it is installed.
#include <gmock/gmock.h>
#include <signal.h>

#include <algorithm>
#include <fstream>

#include "core/image.h"
#include "e2e/program.h"
#include "train/world/world_helpers.h"

namespace glmimage {
namespace {

using nlohmann::json;
using test::checkpoint;
using test::glm_image;
using test::ProcessOptions;
using test::ProcessResult;
using test::run_process;
using ::testing::HasSubstr;
using train::world::chinese_font_is_here;
using Arguments = std::vector<std::string>;

// A checkpoint of random numbers, whose pictures show nothing.
Arguments eval(const Arguments& more) {
  Arguments out = {"eval",    "--model", checkpoint("tiny_a"), "--threads", "1", "--steps", "1", "--size", "128",
                   "--dtype", "float32"};
  out.insert(out.end(), more.begin(), more.end());
  return out;
}

bool has_tesseract() {
  return run_process(
             {.arguments = {"/usr/bin/env", "tesseract", "--version"}, .environment = {}, .input = {}, .folder = {}})
             .exit_code == 0;
}

std::string content(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

TEST(Eval, GroundTruthScoresHighAndRandomPicturesLow) {
  const auto folder = test::scratch_folder() / "new" / "out";
  ProcessOptions options = glm_image(eval({"--count", "16", "--seed", "3", "--out", folder.string()}));
  options.limit = std::chrono::minutes(10);
  const ProcessResult result = run_process(options);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("pictures 16/16"));
  for (const char* text : {"ground truth", "through the VAE", "emoji", "whole picture"}) {
    EXPECT_THAT(result.out, HasSubstr(text));
  }
  EXPECT_THAT(test::files_in(folder), ::testing::ElementsAre("contact_sheet.html", "eval.json", "pictures"));
  EXPECT_EQ(test::files_in(folder / "pictures").size(), 3U * 16U);

  const json value = json::parse(content(folder / "eval.json"));
  const json &truth = value["totals"]["truth"], &drawn = value["totals"]["drawn"];
  for (const char* measure : {"background", "emoji", "shape", "place", "relation"}) {
    ASSERT_GT(truth[measure]["of"], 0) << measure;
    EXPECT_GE(truth[measure]["rate"], 0.99) << measure;
    EXPECT_EQ(drawn[measure]["of"], truth[measure]["of"]) << measure;
  }
  EXPECT_LE(drawn["emoji"]["rate"], 0.1);
  EXPECT_LE(drawn["shape"]["rate"], 0.1);
  EXPECT_EQ(drawn["picture"]["right"], 0);
  EXPECT_EQ(value["totals"]["vae"]["picture"]["right"], 0);  // this VAE is random too
  if (has_tesseract()) {
    EXPECT_THAT(value["reader"].get<std::string>(), HasSubstr("tesseract "));
    ASSERT_GT(truth["word"]["of"], 0);
    EXPECT_GE(truth["word"]["rate"], 0.75);
    EXPECT_EQ(drawn["word"]["right"], 0);
    EXPECT_GT(drawn["word"]["edit_distance"], 0.7);
  }

  ASSERT_EQ(value["pictures"].size(), 16U);
  const json& first = value["pictures"][0];
  EXPECT_EQ(first["seed"], 3);
  EXPECT_EQ(load_image(folder / first["files"]["drawn"].get<std::string>()).width, 128);
  const std::string sheet = content(folder / "contact_sheet.html");
  for (const json& picture : value["pictures"]) {
    EXPECT_THAT(sheet, HasSubstr(picture["files"]["vae"].get<std::string>()));
  }
  EXPECT_THAT(sheet, HasSubstr("class=\"yes\""));
  EXPECT_THAT(sheet, ::testing::Not(HasSubstr("<script")));
}

TEST(Eval, ReadsAListAndPrintsJson) {
  const auto folder = test::scratch_folder();
  const std::string list = (folder / "scenes.jsonl").string();
  std::ofstream(list) << R"({"prompt": "a cat on blue <b>", "background": "blue", "objects": ["cat"]})"
                      << "\n"
                      << R"({"prompt": "a sign", "text": "OPEN", "background": "white"})"
                      << "\n";
  const ProcessResult result =
      run_process(glm_image(eval({"--scenes", list, "--json", "--quiet", "--cache", "taylor"})));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.err, "");
  const json value = json::parse(result.out);
  EXPECT_EQ(value["scenes"], list);
  EXPECT_EQ(value["size"], 128);
  EXPECT_EQ(value["cache"], (json{{"method", "taylor"}, {"interval", 3}}));
  ASSERT_EQ(value["pictures"].size(), 2U);
  EXPECT_EQ(value["pictures"][0]["truth"]["objects"][0]["named"], "cat");
  EXPECT_FALSE(value["pictures"][0].contains("files"));
  EXPECT_EQ(test::files_in(folder), (Arguments{"scenes.jsonl"}));

  std::ofstream(list, std::ios::app) << "{\"prompt\": \"a griffin\", \"objects\": [\"griffin\"]}\n";
  expect_failure(run_process(glm_image(eval({"--scenes", list}))), 2, {"scenes.jsonl:3: ", "griffin"});
}

// Worlds with Chinese: their words are painted, and read where tesseract has the language.
TEST(Eval, ReadsChinese) {
  NEEDS_CHINESE_FONT();
  const ProcessResult result =
      run_process(glm_image(eval({"--languages", "english_and_chinese", "--count", "40", "--seed", "2", "--json"})));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const bool told_unread = result.err.find("chi-sim") != std::string::npos || !has_tesseract();
  int chinese = 0, right = 0;
  const json value = json::parse(result.out);
  for (const json& picture : value["pictures"]) {
    const std::string prompt = picture["prompt"];
    if (std::all_of(prompt.begin(), prompt.end(), [](char c) { return static_cast<signed char>(c) >= 0; })) continue;
    chinese += 1;
    if (told_unread) {
      EXPECT_FALSE(picture["truth"].contains("word")) << prompt;
    } else {
      right += picture["truth"]["word"]["right"].get<bool>() ? 1 : 0;
    }
  }
  ASSERT_GT(chinese, 0);
  EXPECT_GE(2 * right, told_unread ? 0 : chinese);
}

TEST(Eval, RefusesBadOptions) {
  expect_failure(run_process(glm_image({"eval", "--model", "no/such/model"})), 3, {"no/such/model", "--model"});
  expect_failure(run_process(glm_image(eval({"--steps", "0"}))), 2, {"steps"});
  expect_failure(run_process(glm_image(eval({"--cache", "first"}))), 2, {"first-block"});
  expect_failure(run_process(glm_image(eval({"--scenes", "no/list.jsonl"}))), 2, {"no/list.jsonl"});
  expect_failure(run_process(glm_image(eval({"--scenes", "a", "--count", "3"}))), 2, {"--count"});
  expect_failure(run_process(glm_image(eval({"--languages", "klingon"}))), 2, {"--languages", "english_and_chinese"});
  Arguments odd = eval({});
  *std::find(odd.begin(), odd.end(), "128") = "100";
  expect_failure(run_process(glm_image(odd)), 2, {"--size", "100"});
}

TEST(Eval, WithoutTesseractWordsAreLeftOut) {
  const auto folder = test::scratch_folder();
  const std::string list = (folder / "scenes.jsonl").string();
  std::ofstream(list) << R"({"prompt": "a sign", "text": "OPEN", "background": "white"})"
                      << "\n";
  ProcessOptions options = glm_image(eval({"--scenes", list, "--json"}));
  options.environment["TESSDATA_PREFIX"] = "/no/data/here";  // a library without languages reads nothing
  const ProcessResult result = run_process(options);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("tesseract-ocr"));
  const json value = json::parse(result.out);
  EXPECT_TRUE(value["reader"].is_null());
  EXPECT_EQ(value["totals"]["truth"]["word"]["of"], 0);
}

// Ctrl-C: exit code 130 within a second. Pictures that are finished stay; nothing is half written.
TEST(Eval, InterruptLeavesNothingHalf) {
  for (const int signal : {SIGINT, SIGTERM}) {
    const auto folder = test::scratch_folder();
    Arguments slow = eval({"--out", folder.string()});
    *(std::find(slow.begin(), slow.end(), "--steps") + 1) = "1000";
    test::Process process(glm_image(slow));
    ASSERT_TRUE(process.wait_for_error_text("load 5/5")) << process.wait().err;
    const auto sent = std::chrono::steady_clock::now();
    process.send(signal);
    const ProcessResult result = process.wait();
    expect_failure(result, 130, {"cancelled"});
    EXPECT_LT(std::chrono::duration<double>(std::chrono::steady_clock::now() - sent).count(), 1);
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
      EXPECT_NE(entry.path().extension(), ".part") << entry.path();
      EXPECT_NE(entry.path().filename(), "eval.json");
    }
  }
}

}  // namespace
}  // namespace glmimage
