// Pictures that say what they are: formats, recipes that are drawn again, labels, `inspect`.
#include <gmock/gmock.h>

#include <fstream>

#include "core/encode_image.h"
#include "core/picture_metadata.h"
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
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using Arguments = std::vector<std::string>;

namespace fs = std::filesystem;

const Arguments kSmall = {"--width", "64", "--height", "48", "--steps", "2"};

Arguments with(Arguments first, const Arguments& more) {
  first.insert(first.end(), more.begin(), more.end());
  return first;
}

ProcessResult draw(const fs::path& output, const Arguments& more) {
  return run_process(glm_image(generate(checkpoint("tiny_a"), output, more)));
}

ProcessResult draw_again(const fs::path& from, const fs::path& output, const Arguments& more = {}) {
  return draw(output, with({"--from", from.string()}, more));
}

json inspect(const fs::path& picture) {
  const ProcessResult result = run_process(glm_image({"inspect", picture.string(), "--json"}));
  EXPECT_EQ(result.exit_code, 0) << result.err;
  return json::parse(result.out);
}

// What a file says, read here and not by the program.
json told_by(const fs::path& picture) {
  const PictureMetadata found = read_metadata(read_picture_file(picture), picture.string()).metadata;
  const auto parsed = [](const std::string& text) { return text.empty() ? json() : json::parse(text); };
  return {{"recipe", parsed(found.recipe)}, {"label", parsed(found.aigc_label)}};
}

void expect_drawn(const ProcessResult& result) { ASSERT_EQ(result.exit_code, 0) << result.err; }

TEST(Pictures, AreWrittenInTheFormatOfTheName) {
  const fs::path folder = test::scratch_folder();
  const std::string prompt = "猫 \"OPEN\" <&>\n🦊 Straße";
  for (const std::string name : {"a.png", "a.jpg", "a.webp"}) {
    expect_drawn(draw(folder / name, with(kSmall, {"--prompt", prompt, "--seed", "5"})));
    const json told = inspect(folder / name);
    EXPECT_EQ(told["recipe"]["prompt"], prompt) << name;
    EXPECT_EQ(told["recipe"]["seed"], 5);
    EXPECT_EQ(told["width"], 64);
    EXPECT_EQ(told["label"]["ContentProducer"], "glm-image.cpp");
    EXPECT_THAT(told["digital_source_type"].get<std::string>(), HasSubstr("trainedAlgorithmicMedia"));
    EXPECT_THAT(told["parameters"].get<std::string>(), AllOf(HasSubstr(prompt), HasSubstr("Steps: 2, ")));
    EXPECT_EQ(told["faults"], json::array());
  }
  expect_drawn(draw(folder / "b", with(kSmall, {"--prompt", "x", "--format", "webp", "--quality", "100"})));
  EXPECT_EQ(inspect(folder / "b")["format"], "webp");
  EXPECT_EQ(load_image(folder / "b").width, 64);
}

TEST(Pictures, RefuseBadOutputOptions) {
  const fs::path folder = test::scratch_folder();
  const auto refused = [&](const char* name, const Arguments& more, const std::vector<std::string>& fragments) {
    expect_failure(draw(folder / name, with({"--prompt", "cat"}, more)), 2, fragments);
  };
  refused("a.gif", {}, {"a.gif", "PNG, JPEG and WebP"});
  refused("a", {}, {".png"});
  refused("a.png", {"--format", "gif"}, {"'gif'"});
  refused("a.png", {"--quality", "50"}, {"quality", "PNG"});
  refused("a.jpg", {"--quality", "101"}, {"between 0 and 100"});
  refused("a.png", {"--label", "loud"}, {"none, hidden or visible"});
  refused("a.png", {"--producer", "two words"}, {"producer", "two words"});
  refused("a.png", {"--label", "visible", "--width", "32", "--height", "32"}, {"no room", "32 x 32"});
  refused("a.png", {"--allow-differences"}, {"--from"});
  expect_failure(draw(folder / "a.png", {"--prompt", "\xff"}), 2, {"UTF-8"});
  EXPECT_THAT(test::files_in(folder), IsEmpty());
}

TEST(Pictures, AreDrawnAgainToTheBit) {
  const fs::path folder = test::scratch_folder();
  const Arguments odd = {"--prompt",         "a cat 猫", "--width", "70",       "--height",   "50",
                         "--steps",          "6",        "--seed",  "77",       "--guidance", "2.25",
                         "--temperature",    "0.7",      "--top-p", "0.9",      "--cache",    "taylor",
                         "--cache-interval", "2",        "--dtype", "bfloat16", "--label",    "visible"};
  expect_drawn(draw(folder / "by-hand.png", odd));
  for (const std::string format : {"png", "webp", "jpg"}) {
    const fs::path first = folder / ("first." + format), again = folder / ("again-" + format + ".png");
    expect_drawn(draw(first, odd));
    expect_drawn(draw_again(first, again));
    EXPECT_EQ(load_image(again).pixels, load_image(folder / "by-hand.png").pixels) << format;
    EXPECT_EQ(told_by(again)["recipe"], told_by(first)["recipe"]);
  }
  // The same file, byte by byte: nothing in it tells when it was written.
  expect_drawn(draw_again(folder / "first.png", folder / "second.png"));
  EXPECT_EQ(read_picture_file(folder / "first.png"), read_picture_file(folder / "second.png"));
}

TEST(Pictures, OptionsBesideTheRecipeCount) {
  const fs::path folder = test::scratch_folder();
  expect_drawn(draw(folder / "a.png", with(kSmall, {"--prompt", "a cat", "--seed", "5", "--cache", "taylor"})));
  expect_drawn(draw_again(folder / "a.png", folder / "b.png",
                          {"--seed", "6", "--prompt", "a dog", "--steps", "3", "--cache", "none", "--label", "none"}));
  const json told = told_by(folder / "b.png");
  EXPECT_EQ(told["recipe"]["seed"], 6);
  EXPECT_EQ(told["recipe"]["prompt"], "a dog");
  EXPECT_EQ(told["recipe"]["steps"], 3);
  EXPECT_EQ(told["recipe"]["width"], 64) << "from the recipe";
  EXPECT_EQ(told["recipe"]["cache"]["method"], "none");
  EXPECT_TRUE(told["label"].is_null());
  expect_drawn(draw(folder / "hand.png", {"--width", "64", "--height", "48", "--steps", "3", "--prompt", "a dog",
                                          "--seed", "6", "--label", "none"}));
  EXPECT_EQ(load_image(folder / "b.png").pixels, load_image(folder / "hand.png").pixels);
  // Several of it.
  expect_drawn(draw_again(folder / "a.png", folder / "c.png", {"--count", "2"}));
  EXPECT_EQ(told_by(folder / "c-2.png")["recipe"]["seed"], 6);
  EXPECT_EQ(load_image(folder / "c-1.png").pixels, load_image(folder / "a.png").pixels);
}

TEST(Pictures, OtherWeightsAreRefused) {
  const fs::path folder = test::scratch_folder();
  expect_drawn(draw(folder / "a.png", with(kSmall, {"--prompt", "a cat"})));
  const Arguments other = generate(checkpoint("tiny_b"), folder / "b.png", {"--from", (folder / "a.png").string()});
  expect_failure(run_process(glm_image(other)), 2, {"a.png", "weights", "--model", "--allow-differences"});
  EXPECT_FALSE(fs::exists(folder / "b.png"));
  const ProcessResult allowed = run_process(glm_image(with(other, {"--allow-differences"})));
  expect_drawn(allowed);
  EXPECT_THAT(allowed.err, HasSubstr("glm-image: warning: "));
  EXPECT_NE(told_by(folder / "b.png")["recipe"]["model"], told_by(folder / "a.png")["recipe"]["model"]);
}

TEST(Pictures, ReferencesAreAskedForAndHeldToTheirContents) {
  const fs::path folder = test::scratch_folder();
  const std::string odd = test::golden("pictures/odd101x77.png").string();
  save_image(folder / "red.png", {40, 40, std::vector<uint8_t>(3 * 40 * 40, 200)});
  const std::string red = (folder / "red.png").string();
  expect_drawn(draw(folder / "a.png", with(kSmall, {"--prompt", "both", "--image", odd, "--image", red})));
  expect_failure(draw_again(folder / "a.png", folder / "b.png"), 2,
                 {"reference pictures", "odd101x77.png (101 x 77", "red.png (40 x 40", "--image"});
  for (const Arguments& wrong :
       {Arguments{"--image", odd}, {"--image", red, "--image", odd}, {"--image", odd, "--image", odd}}) {
    expect_failure(draw_again(folder / "a.png", folder / "b.png", wrong), 2, {"--image"});
  }
  // The same pixels in another file do.
  save_image(folder / "renamed.webp", load_image(red), {.format = PictureFormat::webp, .quality = 100});
  expect_drawn(
      draw_again(folder / "a.png", folder / "b.png", {"--image", odd, "--image", (folder / "renamed.webp").string()}));
  EXPECT_EQ(load_image(folder / "b.png").pixels, load_image(folder / "a.png").pixels);
}

TEST(Pictures, AdaptersAreAskedForWithTheirScale) {
  const fs::path folder = test::scratch_folder();
  const std::string adapter = test::golden("tiny_a/lora/dit").string(), other = test::golden("tiny_a/lora/ar").string();
  expect_drawn(draw(folder / "a.png", with(kSmall, {"--prompt", "a cat", "--lora", adapter + ":0.5"})));
  EXPECT_EQ(told_by(folder / "a.png")["recipe"]["loras"][0]["scale"], 0.5);
  expect_failure(draw_again(folder / "a.png", folder / "b.png"), 2, {"adapters", "dit", "--lora"});
  expect_failure(draw_again(folder / "a.png", folder / "b.png", {"--lora", other}), 2, {"adapters"});
  expect_drawn(draw_again(folder / "a.png", folder / "b.png", {"--lora", adapter}));
  EXPECT_EQ(load_image(folder / "b.png").pixels, load_image(folder / "a.png").pixels);
  expect_drawn(draw_again(folder / "a.png", folder / "c.png", {"--lora", adapter + ":1"}));
  EXPECT_EQ(told_by(folder / "c.png")["recipe"]["loras"][0]["scale"], 1.0);
}

TEST(Pictures, WithoutARecipeAreRefused) {
  const fs::path folder = test::scratch_folder();
  save_image(folder / "plain.png", {8, 8, std::vector<uint8_t>(3 * 8 * 8, 200)});
  expect_failure(draw_again(folder / "plain.png", folder / "b.png"), 2, {"plain.png", "no recipe"});
  expect_drawn(draw(folder / "secret.png", with(kSmall, {"--prompt", "a cat", "--no-recipe"})));
  expect_failure(draw_again(folder / "secret.png", folder / "b.png"), 2, {"secret.png", "no recipe"});
  const std::string text = [&] {
    const auto bytes = read_picture_file(folder / "secret.png");
    return std::string(bytes.begin(), bytes.end());
  }();
  EXPECT_THAT(text, Not(HasSubstr("a cat")));
  EXPECT_FALSE(told_by(folder / "secret.png")["label"].is_null());
  expect_failure(draw_again(folder / "none.png", folder / "b.png"), 2, {"none.png", "No such file"});
  std::ofstream(folder / "text.png") << "no picture";
  expect_failure(draw_again(folder / "text.png", folder / "b.png"), 2, {"text.png"});
}

void write_forged(const fs::path& file, const std::string& recipe) {
  save_image(file, {8, 8, std::vector<uint8_t>(3 * 8 * 8, 200)},
             {.metadata = {.recipe = recipe, .aigc_label = "{\"Label\":[[[]]]}"}});
}

TEST(Pictures, ForgedRecipesDoNoHarm) {
  const fs::path folder = test::scratch_folder();
  expect_drawn(draw(folder / "a.png", with(kSmall, {"--prompt", "a cat"})));
  const json good = told_by(folder / "a.png")["recipe"];
  const auto forged = [&](const char* field, const json& value) {
    json recipe = good;
    recipe[field] = value;
    write_forged(folder / "f.png", recipe.dump());
    return draw_again(folder / "f.png", folder / "b.png");
  };
  expect_failure(forged("steps", 1e9), 2, {"f.png", "steps"});
  expect_failure(forged("width", 1 << 30), 2, {"f.png", "width"});
  expect_failure(forged("dtype", "\x1b[31mint4"), 2, {"int4"});
  expect_failure(forged("device", "abacus"), 2, {"abacus"});
  expect_failure(forged("prompt", json::array()), 2, {"prompt"});
  const ProcessResult many = forged("threads", 4096);  // is not obeyed
  expect_drawn(many);
  EXPECT_THAT(many.err, HasSubstr("4096 threads"));
  write_forged(folder / "f.png", std::string(100000, '['));
  expect_failure(draw_again(folder / "f.png", folder / "b.png"), 2, {"f.png", "no JSON object"});
  const json told = inspect(folder / "f.png");
  EXPECT_TRUE(told["recipe"].is_null());
  EXPECT_EQ(told["faults"].size(), 1U);
  EXPECT_EQ(told["label"]["Label"], json::parse("[[[]]]"));
}

TEST(Pictures, ProducersComeFromOptionAndEnvironment) {
  const fs::path folder = test::scratch_folder();
  ProcessOptions options =
      glm_image(generate(checkpoint("tiny_a"), folder / "a.png", with(kSmall, {"--prompt", "cat"})));
  options.environment["GLM_IMAGE_PRODUCER"] = "001191110102MACQD9K64010000";
  expect_drawn(run_process(options));
  EXPECT_EQ(told_by(folder / "a.png")["label"]["ContentProducer"], "001191110102MACQD9K64010000");
  options.arguments.insert(options.arguments.end(), {"--producer", "me"});
  expect_drawn(run_process(options));
  EXPECT_EQ(told_by(folder / "a.png")["label"]["ContentProducer"], "me");
}

TEST(Pictures, InspectTellsInWords) {
  const fs::path folder = test::scratch_folder();
  expect_drawn(draw(folder / "a.jpg", with(kSmall, {"--prompt", "猫\x1b[31m", "--seed", "5", "--producer", "me"})));
  const ProcessResult words = run_process(glm_image({"inspect", (folder / "a.jpg").string()}));
  EXPECT_EQ(words.exit_code, 0) << words.err;
  EXPECT_THAT(words.out,
              AllOf(HasSubstr("a.jpg: jpeg, 64 x 48\n"), HasSubstr("猫\\u001b[31m"), Not(HasSubstr("\x1b"))));
  EXPECT_THAT(words.out,
              AllOf(HasSubstr("AIGC 1: generated"), HasSubstr("me, id "), HasSubstr("trainedAlgorithmicMedia")));
  save_image(folder / "plain.webp", {8, 8, std::vector<uint8_t>(3 * 8 * 8, 200)}, {.format = PictureFormat::webp});
  EXPECT_THAT(run_process(glm_image({"inspect", (folder / "plain.webp").string()})).out,
              HasSubstr("It does not say how it was made."));
  std::ofstream(folder / "cut.png", std::ios::binary) << "\x89PNG\r\n\x1a\n";
  expect_failure(run_process(glm_image({"inspect", (folder / "cut.png").string()})), 2, {"cut.png", "broken"});
}

}  // namespace
}  // namespace glmimage
