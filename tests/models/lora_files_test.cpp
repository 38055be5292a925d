// Adapter files are hostile: whatever is broken, one sentence names file and tensor.
#include <ATen/core/Tensor.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "models/ar/model.h"
#include "models/dit/model.h"
#include "models/lora/lora.h"
#include "support/goldens.h"

namespace glmimage {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr const char* kToQ = "transformer_blocks.0.attn1.to_q";

// Held to tiny_a's configurations; no weights are needed.
class BrokenLora : public ::testing::Test {
 protected:
  void SetUp() override {
    file = test::scratch_folder() / "broken.safetensors";
    dit.list(dit_list);
    ar.list(ar_list);
  }

  std::string refusal(const NamedTensors& tensors, const json& metadata = {}) {
    std::map<std::string, std::string> stored;
    if (!metadata.is_null())
      stored["lora_adapter_metadata"] = metadata.is_string() ? metadata.get<std::string>() : metadata.dump();
    write_safetensors(file, tensors, stored);
    return refusal_of(file);
  }
  std::string refusal_of(const fs::path& path) {
    try {
      match_lora(LoraFile::open(path), {.dit = &dit_list, .ar = &ar_list});
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::checkpoint) << e.what();
      return e.what();
    }
    return "accepted";
  }
  // A good pair, to be changed.
  static NamedTensors pair(std::vector<int64_t> a = {4, 32}, std::vector<int64_t> b = {32, 4}) {
    return {{stem() + ".lora_A.weight", at::ones(a)}, {stem() + ".lora_B.weight", at::ones(b)}};
  }
  static std::string stem() { return std::string("transformer.") + kToQ; }
  NamedTensors with(const std::string& name, const at::Tensor& tensor) const {
    NamedTensors out = pair();
    out.emplace_back(name, tensor);
    return out;
  }

  const fs::path checkpoint = test::golden("tiny_a/checkpoint");
  DitModel dit{DitConfig::from_json(JsonObject::open(checkpoint / "transformer/config.json"))};
  ArModel ar{ArConfig::from_json(JsonObject::open(checkpoint / "vision_language_encoder/config.json"))};
  ParameterList dit_list, ar_list;
  fs::path file;
};

TEST_F(BrokenLora, TheGoodPairIsFine) {
  EXPECT_EQ(refusal(pair()), "accepted");
  EXPECT_EQ(refusal(with(stem() + ".alpha", at::full({1}, 2))), "accepted");
}

TEST_F(BrokenLora, NoAdapterAtAll) {
  EXPECT_THAT(refusal_of("no/such/adapter.safetensors"), HasSubstr("no/such/adapter.safetensors: cannot be opened"));
  EXPECT_THAT(refusal_of(file.parent_path()), HasSubstr("holds no adapter (adapter_model.safetensors or"));
  EXPECT_THAT(refusal({{"x", at::ones({1})}}), HasSubstr("broken.safetensors: holds no adapter; its 1 tensors"));
  std::ofstream(file) << "PK\3\4 not a safetensors file at all";
  EXPECT_THAT(refusal_of(file), HasSubstr("not a safetensors file?"));
  write_safetensors(file, pair());
  fs::resize_file(file, fs::file_size(file) - 3);
  EXPECT_THAT(refusal_of(file), HasSubstr("incomplete download?"));
}

TEST_F(BrokenLora, HalfAPair) {
  EXPECT_THAT(refusal({pair()[0]}), AllOf(HasSubstr(stem()), HasSubstr("the second (lora_B or lora_up) is missing")));
  EXPECT_THAT(refusal({pair()[1]}), HasSubstr("the first (lora_A or lora_down) is missing"));
  EXPECT_THAT(refusal({{stem() + ".alpha", at::ones({1})}}), HasSubstr("both are missing"));
}

TEST_F(BrokenLora, RanksAndDimensions) {
  EXPECT_THAT(refusal(pair({4, 32}, {32, 8})),
              AllOf(HasSubstr("the ranks of"), HasSubstr("(4, 32)"), HasSubstr("(32, 8)")));
  EXPECT_THAT(refusal(pair({0, 32}, {32, 0})), AllOf(HasSubstr(stem()), HasSubstr("has rank 0")));
  EXPECT_THAT(refusal(pair({4, 32, 1, 1}, {32, 4})),
              AllOf(HasSubstr("lora_A.weight"), HasSubstr("expected (rank, in)")));
  EXPECT_THAT(refusal(pair({4, 32}, {128})), AllOf(HasSubstr("lora_B.weight"), HasSubstr("expected (out, rank)")));
  EXPECT_THAT(refusal({pair()[0], {pair()[1].first, at::ones({32, 4}, at::kInt)}}), HasSubstr("has the type I32"));
}

TEST_F(BrokenLora, ShapesOfAnotherModel) {
  EXPECT_THAT(refusal(pair({4, 64}, {32, 4})), AllOf(HasSubstr("does not fit this model"),
                                                     HasSubstr("lora_A.weight\" is [4, 64], expected [rank, 32]")));
  EXPECT_THAT(refusal(pair({4, 32}, {48, 4})), HasSubstr("lora_B.weight\" is [48, 4], expected [32, rank]"));
}

TEST_F(BrokenLora, NothingFits) {
  EXPECT_THAT(
      refusal({{"unet.mid.to_q.lora_A.weight", at::ones({4, 32})}, {"unet.mid.to_q.lora_B.weight", at::ones({32, 4})}}),
      AllOf(HasSubstr("none of its 1 pairs names a matrix"), HasSubstr("unet.mid.to_q.lora_A.weight")));
  // The language model has no such module, whatever the transformer has.
  EXPECT_THAT(refusal({{std::string("vision_language_encoder.") + kToQ + ".lora_A.weight", at::ones({4, 32})},
                       {std::string("vision_language_encoder.") + kToQ + ".lora_B.weight", at::ones({32, 4})}}),
              HasSubstr("none of its 1 pairs"));
  // Names of a hostile file do not reach the terminal as they are.
  EXPECT_THAT(refusal({{"\x1b[2J.lora_A.weight", at::ones({4, 32})}, {"\x1b[2J.lora_B.weight", at::ones({32, 4})}}),
              HasSubstr("\\u001b[2J"));
}

TEST_F(BrokenLora, OneMatrixTwice) {
  EXPECT_THAT(refusal(with(stem() + ".lora_down.weight", at::ones({4, 32}))),
              HasSubstr("the same matrix by two names"));
  NamedTensors twice = pair();
  twice.emplace_back(std::string(kToQ) + ".lora_A.weight", at::ones({4, 32}));
  twice.emplace_back(std::string(kToQ) + ".lora_B.weight", at::ones({32, 4}));
  EXPECT_THAT(refusal(twice), HasSubstr("two pairs of matrices change transformer_blocks.0.attn1.to_q.weight"));
}

TEST_F(BrokenLora, Values) {
  NamedTensors bad = pair();
  bad[1].second[3][1] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THAT(refusal(bad), AllOf(HasSubstr("lora_B.weight"), HasSubstr("not finite")));
  EXPECT_THAT(refusal(with(stem() + ".alpha", at::ones({2}))),
              AllOf(HasSubstr(".alpha"), HasSubstr("expected one number")));
  EXPECT_THAT(refusal(with(stem() + ".alpha", at::full({}, std::numeric_limits<double>::infinity()))),
              HasSubstr("finite number"));
}

TEST_F(BrokenLora, OtherKindsOfAdapters) {
  for (const auto& [ending, kind] : std::map<std::string, std::string>{{".lora_magnitude_vector", "DoRA"},
                                                                       {".dora_scale", "DoRA"},
                                                                       {".hada_w1_a", "LoHa"},
                                                                       {".lokr_w1", "LoKr"},
                                                                       {".lora_mid.weight", "LoCon"},
                                                                       {".lora_B.bias", "biases"},
                                                                       {".lora_embedding_A", "embeddings"}}) {
    EXPECT_THAT(refusal(with(stem() + ending, at::ones({4}))), AllOf(HasSubstr(ending), HasSubstr(kind))) << ending;
  }
}

TEST_F(BrokenLora, Metadata) {
  const json good = {{"r", 4}, {"lora_alpha", 8}};
  const auto changed = [&](const std::string& field, const json& value) {
    json metadata = good;
    metadata[field] = value;
    return refusal(pair(), metadata);
  };
  EXPECT_EQ(refusal(pair(), good), "accepted");
  EXPECT_EQ(changed("use_dora", false), "accepted");
  EXPECT_EQ(changed("modules_to_save", nullptr), "accepted");
  EXPECT_EQ(changed("alpha_pattern", {{"^transformer_blocks.0.attn1.to_q", 3}}), "accepted");
  EXPECT_THAT(refusal(pair(), "{\"r\": "), HasSubstr("'lora_adapter_metadata' is not valid JSON"));
  EXPECT_THAT(refusal(pair(), json::array({1})), HasSubstr("should be a JSON object"));
  EXPECT_THAT(changed("r", 8),
              AllOf(HasSubstr("says rank 8"), HasSubstr("have rank 4"), HasSubstr("another adapter?")));
  EXPECT_THAT(changed("r", 0), HasSubstr("lora_adapter_metadata.r"));
  EXPECT_THAT(changed("r", "4"), HasSubstr("should be an integer"));
  EXPECT_THAT(changed("lora_alpha", nullptr), HasSubstr("lora_alpha' is missing"));
  EXPECT_THAT(changed("use_dora", true), HasSubstr("use_dora' is set"));
  EXPECT_THAT(changed("modules_to_save", {"proj_out"}), HasSubstr("modules_to_save' is set"));
  EXPECT_THAT(changed("bias", "all"), HasSubstr("only 'none'"));
  EXPECT_THAT(changed("peft_type", "IA3"), HasSubstr("only LORA"));
  EXPECT_THAT(changed("init_lora_weights", "pissa_niter_4"), HasSubstr("made for weights that were changed first"));
  EXPECT_THAT(changed("rank_pattern", {{"(a+)+$", 4}}), HasSubstr("regular expression"));
  EXPECT_THAT(changed("alpha_pattern", {{"to_q", "8"}}), HasSubstr("should be a number"));
}

TEST_F(BrokenLora, TheConfigurationOfAnotherAdapter) {
  std::ofstream(file.parent_path() / "adapter_config.json") << R"({"peft_type": "LORA", "r": 16, "lora_alpha": 16})";
  EXPECT_THAT(refusal(pair()), AllOf(HasSubstr("adapter_config.json: says rank 16"), HasSubstr("another adapter?")));
  // Alphas in the file come first, and other people's names do not ask it.
  EXPECT_EQ(refusal(with(stem() + ".alpha", at::ones({1}))), "accepted");
  EXPECT_EQ(refusal({{std::string("diffusion_model.") + kToQ + ".lora_A.weight", at::ones({4, 32})},
                     {std::string("diffusion_model.") + kToQ + ".lora_B.weight", at::ones({32, 4})}}),
            "accepted");
}

}  // namespace
}  // namespace glmimage
