// Drawing with adapters: --lora as its users meet it.
#include <ATen/core/Tensor.h>
#include <ATen/ops/ones.h>
#include <gmock/gmock.h>

#include "core/image.h"
#include "core/safetensors.h"
#include "e2e/program.h"

namespace glmimage {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using test::checkpoint;
using test::expect_failure;
using test::generate;
using test::glm_image;
using test::golden;
using test::ProcessResult;
using test::run_process;
using ::testing::HasSubstr;
using Arguments = std::vector<std::string>;

class LoraCli : public ::testing::Test {
 protected:
  void SetUp() override { folder = test::scratch_folder(); }

  ProcessResult draw(const Arguments& more, const std::string& model = "tiny_a") {
    Arguments arguments = {"--prompt", "a cat", "--width", "64", "--height", "32",
                           "--steps",  "2",     "--seed",  "5",  "--dtype",  "float32"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_process(glm_image(generate(checkpoint(model), folder / "a.png", arguments)));
  }
  std::vector<uint8_t> pixels(const Arguments& more) {
    const ProcessResult result = draw(more);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return load_image(folder / "a.png").pixels;
  }

  fs::path folder;
  const std::string dit = golden("tiny_a/lora/dit/adapter_model.safetensors").string();
  const std::string ar = golden("tiny_a/lora/ar").string();
};

TEST_F(LoraCli, ChangesThePictureByItsScale) {
  const auto plain = pixels({});
  const auto whole = pixels({"--lora", dit});
  EXPECT_NE(whole, plain);
  EXPECT_EQ(pixels({"--lora", dit + ":1"}), whole);
  EXPECT_EQ(pixels({"--lora", dit + ":0", "--lora", ar + ":0.0"}), plain);
  const auto negative = pixels({"--lora", dit + ":-0.5"});
  EXPECT_NE(negative, plain);
  EXPECT_NE(negative, whole);
}

TEST_F(LoraCli, JsonNamesThem) {
  const ProcessResult result = draw({"--lora", dit + ":0.5", "--lora", ar, "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(json::parse(result.out)["loras"], json::parse(R"([{"path": ")" + dit +
                                                          R"(", "scale": 0.5, "matrices": 12, "unmatched": []},
                            {"path": ")" + ar + R"(", "scale": 1.0, "matrices": 13, "unmatched": []}])"));
  const ProcessResult without = draw({"--json"});
  EXPECT_EQ(json::parse(without.out)["loras"], json::array());
}

TEST_F(LoraCli, AColonInThePathIsPartOfIt) {
  const fs::path odd = folder / "style:2";
  fs::copy_file(dit, odd);
  fs::copy_file(golden("tiny_a/lora/dit/adapter_config.json"), folder / "adapter_config.json");
  const auto whole = pixels({"--lora", dit});
  EXPECT_EQ(pixels({"--lora", odd.string()}), whole);
  EXPECT_EQ(pixels({"--lora", odd.string() + ":+1e0"}), whole);
}

TEST_F(LoraCli, RefusesBeforeWeightsAreRead) {
  expect_failure(draw({"--lora", "no/such.safetensors"}), 3, {"no/such.safetensors", "--lora"});
  expect_failure(draw({"--lora", dit + ":strong"}), 2, {"strong", "is not a number"});
  for (const char* scale : {":", ":nan", ":inf", ":0x1", ":1 "}) {
    expect_failure(draw({"--lora", dit + scale}), 2, {"is not a number"});
  }
  expect_failure(draw({"--lora", checkpoint("tiny_a") + "/vae/diffusion_pytorch_model.safetensors"}), 3,
                 {"holds no adapter"});
  expect_failure(draw({"--lora", dit}, "tiny_b"), 3, {"adapter_model.safetensors", "does not fit this model"});
  EXPECT_THAT(test::files_in(folder), ::testing::ElementsAre());
}

TEST_F(LoraCli, WarnsOfWhatItDoesNotUse) {
  NamedTensors tensors;
  const SafetensorsFile stored = SafetensorsFile::open(dit);
  for (const TensorInfo& info : stored.tensors()) tensors.emplace_back(info.name, stored.tensor(info.name));
  tensors.emplace_back("text_encoder.q.lora_A.weight", at::ones({4, 8}));
  tensors.emplace_back("text_encoder.q.lora_B.weight", at::ones({8, 4}));
  const fs::path more = folder / "more.safetensors";
  write_safetensors(more, tensors);
  const ProcessResult result = draw({"--lora", more.string(), "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("glm-image: warning: " + more.string()));
  EXPECT_THAT(result.err, HasSubstr("text_encoder.q.lora_A.weight"));
  EXPECT_EQ(json::parse(result.out)["loras"][0]["unmatched"], json::array({"text_encoder.q.lora_A.weight"}));
  EXPECT_EQ(draw({"--lora", more.string(), "--quiet"}).err, "");
}

TEST_F(LoraCli, InspectTellsAnAdapter) {
  const ProcessResult text = run_process(glm_image({"inspect", dit}));
  ASSERT_EQ(text.exit_code, 0) << text.err;
  EXPECT_THAT(text.out, HasSubstr("adapter: LoRA of 12 modules, rank [4], alpha [6.0,10.0]"));
  const json part = json::parse(run_process(glm_image({"inspect", dit, "--json"})).out)["parts"][0];
  EXPECT_EQ(part["kind"], "LoRA adapter");
  EXPECT_EQ(part["adapter"]["pairs"], 12);
  EXPECT_EQ(part["adapter"]["targets"],
            json::array({"norm_out.linear", "proj_out", "transformer_blocks.*.attn1.to_k",
                         "transformer_blocks.*.attn1.to_out.0", "transformer_blocks.*.attn1.to_q",
                         "transformer_blocks.*.attn1.to_v", "transformer_blocks.*.ff.net.0.proj"}));
}

}  // namespace
}  // namespace glmimage
