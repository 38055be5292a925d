#include "pipeline/recipe.h"

#include <gmock/gmock.h>

#include "core/error.h"
#include "pipeline/drawn_recipe.h"

namespace glmimage {
namespace {

using nlohmann::ordered_json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

Recipe full() {
  Recipe recipe;
  recipe.program = "glm-image 0.1.0 (LibTorch 2.11.0)";
  recipe.model = {"mini", std::string(64, 'a')};
  recipe.prompt = "猫 \"OPEN\"\n<&> 🦊 \x01 é";
  recipe.seed = UINT64_MAX;
  recipe.width = 70;
  recipe.height = 50;
  recipe.steps = 12;
  recipe.guidance_scale = 1.1;
  recipe.temperature = 0.1 + 0.2;
  recipe.top_p = 0.75;
  recipe.cache = {.method = CacheMethod::first_block, .threshold = 0.1, .interval = 4};
  recipe.loras = {{{"style:1,2.safetensors", std::string(64, 'b')}, -0.8}};
  recipe.references = {{"street \"1\".png", std::string(64, 'c'), 640, 480}, {"", std::string(64, 'd'), 1, 1}};
  recipe.dtype = "bfloat16";
  recipe.device = "cuda";
  recipe.threads = 8;
  recipe.label = "visible";
  return recipe;
}

void expect_same(const Recipe& a, const Recipe& b) {
  EXPECT_EQ(a.to_json(), b.to_json());
  EXPECT_EQ(a.prompt, b.prompt);
  EXPECT_EQ(a.seed, b.seed);
  EXPECT_EQ(a.guidance_scale, b.guidance_scale);
  EXPECT_EQ(a.temperature, b.temperature);
  EXPECT_EQ(a.top_p, b.top_p);
  EXPECT_EQ(a.cache.threshold, b.cache.threshold);
  EXPECT_EQ(a.loras, b.loras);
  EXPECT_EQ(a.references, b.references);
  EXPECT_EQ(a.model, b.model);
}

TEST(Recipe, GoesBothWays) {
  expect_same(Recipe::from_json(full().to_json().dump(), "a.png"), full());
  expect_same(Recipe::from_json(full().to_json().dump(-1, ' ', true), "a.png"), full());
  Recipe plain = full();
  plain.temperature = plain.top_p = std::nullopt;
  plain.cache = {};
  plain.loras.clear();
  plain.references.clear();
  expect_same(Recipe::from_json(plain.to_json().dump(), "a.png"), plain);
  EXPECT_FALSE(Recipe::from_json(plain.to_json().dump(), "a.png").temperature);
}

TEST(Recipe, IsARequest) {
  const GenerateRequest request = full().request();
  EXPECT_EQ(request.prompt, full().prompt);
  EXPECT_EQ(request.width, 70);
  EXPECT_EQ(request.cache.interval, 4);
  GenerateRequest drawn = request;
  drawn.references = {Image{2, 1, {1, 2, 3, 4, 5, 6}}};
  const Recipe recipe = recipe_of_picture(full(), drawn, Image{70, 50, {}}, at::kFloat, {"two.png"});
  ASSERT_EQ(recipe.references.size(), 1U);
  EXPECT_EQ(recipe.references[0].name, "two.png");
  EXPECT_EQ(recipe.references[0].hash, hash_picture(drawn.references[0]));
  EXPECT_EQ(recipe.request().seed, request.seed);
  EXPECT_EQ(recipe.height, 50);
  EXPECT_EQ(recipe.dtype, "float32");
  EXPECT_EQ(recipe.model, full().model);
}

// The text as stable-diffusion-webui reads it: the last line is "key: value" pairs, values with commas in quotes.
TEST(Recipe, ParametersAreThoseOfTheWebUi) {
  const std::string text = full().parameters();
  EXPECT_EQ(text.substr(0, text.rfind("\nSteps: ")), full().prompt);
  EXPECT_THAT(text, HasSubstr("\nSteps: 12, Sampler: Euler, CFG scale: 1.1, Seed: 18446744073709551615, Size: 70x50, "
                              "Model hash: aaaaaaaaaa, Model: mini, "));
  EXPECT_THAT(text, HasSubstr(", Lora hashes: \"style_1_2.safetensors: bbbbbbbbbbbb\", Reference pictures: 2, "));
  EXPECT_THAT(text, HasSubstr("Step cache: first-block"));
}

std::string refusal(const std::string& text) {
  try {
    Recipe::from_json(text, "a.png");
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::usage) << e.what();
    EXPECT_THAT(e.what(), ::testing::StartsWith("a.png: the recipe in it"));
    return e.what();
  }
  ADD_FAILURE() << "accepted: " << text.substr(0, 300);
  return "";
}

TEST(Recipe, RefusesWhatIsNoRecipe) {
  for (const std::string text : {"", "{", "[]", "7", "\"text\"", "\xff\xfe", "{\"a\": \"\xff\"}"}) {
    EXPECT_THAT(refusal(text), HasSubstr("no JSON object"));
  }
  EXPECT_THAT(refusal("{}"), HasSubstr("field 'recipe' is missing"));
  EXPECT_THAT(refusal("{\"recipe\": 2}"), HasSubstr("version 1"));
  const std::string deep(1 << 20, '[');
  EXPECT_THAT(refusal(deep), HasSubstr("no JSON object"));
  EXPECT_THAT(refusal("{\"recipe\":" + deep + std::string(1 << 20, ']') + "}"), HasSubstr("no JSON object"));
  EXPECT_THAT(refusal("{\"recipe\": 1, \"prompt\": \"" + std::string(17 << 20, 'x') + "\"}"), HasSubstr("bytes"));
}

TEST(Recipe, RefusesForgedFields) {
  const auto forged = [](const char* field, const ordered_json& value) {
    ordered_json recipe = full().to_json();
    recipe[field] = value;
    return refusal(recipe.dump());
  };
  const auto without = [](const char* field) {
    ordered_json recipe = full().to_json();
    recipe.erase(field);
    return refusal(recipe.dump());
  };
  for (const char* field : {"program", "model", "prompt", "seed", "width", "height", "steps", "guidance_scale", "cache",
                            "dtype", "device", "threads", "label"}) {
    EXPECT_THAT(without(field), AllOf(HasSubstr(field), HasSubstr("is missing")));
    EXPECT_THAT(forged(field, ordered_json::array({1})), HasSubstr(field));
  }
  EXPECT_THAT(forged("seed", -1), HasSubstr("from 0 on"));
  EXPECT_THAT(forged("seed", 1.5), HasSubstr("seed"));
  EXPECT_THAT(forged("width", 1000000), HasSubstr("1000000"));
  EXPECT_THAT(forged("height", 0), HasSubstr("height"));
  EXPECT_THAT(forged("steps", 1000000000), HasSubstr("between 1 and 1000"));
  EXPECT_THAT(forged("guidance_scale", 1e300), HasSubstr("between 0 and 100"));
  EXPECT_THAT(forged("top_p", 2), HasSubstr("top-p"));
  EXPECT_THAT(forged("temperature", "hot"), HasSubstr("should be a number"));
  EXPECT_THAT(forged("threads", 1 << 20), HasSubstr("threads"));
  EXPECT_THAT(forged("cache", {{"method", "magic"}}), HasSubstr("magic"));
  EXPECT_THAT(forged("dtype", "int4"), HasSubstr("int4"));
  EXPECT_THAT(forged("device", "abacus"), HasSubstr("abacus"));
  EXPECT_THAT(forged("label", "loud"), HasSubstr("none, hidden or visible"));
  EXPECT_THAT(forged("model", {{"name", "x"}, {"hash", "../../etc/passwd"}}), HasSubstr("hexadecimal"));
  EXPECT_THAT(forged("program", std::string(5000, 'x')), HasSubstr("longer than"));
  EXPECT_THAT(forged("prompt", std::string(2 << 20, 'x')), HasSubstr("bytes"));
  const ordered_json reference = {{"name", "a"}, {"hash", std::string(64, '0')}, {"width", 1}, {"height", 1}};
  EXPECT_THAT(forged("references", ordered_json(std::vector<ordered_json>(17, reference))), HasSubstr("at most 16"));
  EXPECT_THAT(forged("references", {{"a", 1}}), HasSubstr("should be a list"));
  EXPECT_THAT(forged("loras", ordered_json::array({7})), HasSubstr("list of objects"));
}

// What is told about a hostile file must not drive the terminal that shows it.
TEST(Recipe, ErrorsAreFitForATerminal) {
  ordered_json recipe = full().to_json();
  recipe["label"] = "\x1b]0;gotcha\x07\n" + std::string(10000, 'y');
  const std::string message = refusal(recipe.dump());
  EXPECT_THAT(message, AllOf(Not(HasSubstr("\x1b")), Not(HasSubstr("\n")), HasSubstr("\\u001b")));
  EXPECT_LT(message.size(), 500U);
}

}  // namespace
}  // namespace glmimage
