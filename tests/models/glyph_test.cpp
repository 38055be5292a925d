#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <optional>

#include "core/error.h"
#include "core/rng.h"
#include "core/safetensors.h"
#include "core/weight_files.h"
#include "models/glyph/encoder.h"
#include "support/goldens.h"
#include "support/gradients.h"

namespace glmimage {
namespace {

using test::golden;
using test::relative_error;

constexpr double kTolerance = 1e-4;

class Glyph : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    folder = golden(std::string(GetParam()) + "/checkpoint/text_encoder");
    encoder = GlyphEncoder::open(folder, {.dtype = at::kFloat});
    file.emplace(SafetensorsFile::open(golden(std::string(GetParam()) + "/modules.safetensors")));
  }
  at::Tensor at(const std::string& name) const { return file->tensor(name); }

  // A copy of the checkpoint with its tensors renamed or more of them.
  std::filesystem::path changed(const std::function<void(NamedTensors&)>& change) const {
    const WeightFiles files = WeightFiles::open(folder);
    NamedTensors tensors;
    for (const std::string& name : files.names()) tensors.emplace_back(name, files.tensor(name).clone());
    change(tensors);
    const std::filesystem::path copy = test::scratch_folder();
    std::filesystem::copy_file(folder / "config.json", copy / "config.json");
    write_safetensors(copy / "model.safetensors", tensors);
    return copy;
  }

  std::filesystem::path folder;
  GlyphEncoder encoder;
  std::optional<SafetensorsFile> file;
};

INSTANTIATE_TEST_SUITE_P(Goldens, Glyph, ::testing::Values("tiny_a", "tiny_b", "tiny_c"));

TEST_P(Glyph, ForwardEqualsTheReference) {
  EXPECT_LT(relative_error(encoder.forward(at("glyph.in_ids")), at("glyph.out")), kTolerance);
  EXPECT_LT(relative_error(encoder.forward(at("glyph.end_only.in_ids")), at("glyph.end_only.out")), kTolerance);
}

TEST_P(Glyph, InnerValuesEqualTheReference) {
  const at::Tensor ids = at("glyph.in_ids");
  const int64_t t = ids.size(1);
  const GlyphConfig& c = encoder.config;
  const at::Tensor by_distance = encoder.relative_attention_bias(relative_buckets(t, c.buckets, c.max_distance)).t();
  EXPECT_TRUE(at::equal(by_distance.narrow(1, t - 1, t), at("glyph.bias.row0")));
  EXPECT_TRUE(at::equal(by_distance.narrow(1, 0, t), at("glyph.bias.row_last")));

  std::vector<at::Tensor> rows;
  for (int64_t i = 0; i < t; ++i) rows.push_back(by_distance.narrow(1, t - 1 - i, t).unsqueeze(1));
  const at::Tensor first = encoder.blocks[0](encoder.shared(ids), at::cat(rows, 1).unsqueeze(0));
  EXPECT_LT(relative_error(first, at("glyph.block.0.out")), kTolerance);
}

TEST_P(Glyph, GradientsEqualTheReference) {
  if (!file->find("grad.glyph.projection")) GTEST_SKIP() << "no gradients recorded for this checkpoint";
  ParameterList list;
  encoder.list(list);
  const auto leaves = test::record_gradients(list);
  (encoder.forward(at("glyph.in_ids")) * at("grad.glyph.projection")).sum().backward();
  EXPECT_GE(test::expect_gradients(leaves, *file, "grad.glyph.", 2e-4), 5);
}

TEST_P(Glyph, PaddedRowsEqualSinglePasses) {
  const at::Tensor ids = at("glyph.in_ids").narrow(1, 0, 9);
  std::vector<at::Tensor> rows, masks;
  for (int64_t n : {9, 4, 1}) {
    rows.push_back(at::cat({ids.narrow(1, 0, n), at::zeros({1, 9 - n}, at::kLong)}, 1));
    masks.push_back(at::cat({at::ones({1, n}, at::kBool), at::zeros({1, 9 - n}, at::kBool)}, 1));
  }
  const at::Tensor out = encoder.forward(at::cat(rows), at::cat(masks));
  int64_t row = 0;
  for (int64_t n : {9, 4, 1}) {
    EXPECT_LT(relative_error(out[row++].narrow(0, 0, n), encoder.forward(ids.narrow(1, 0, n))[0]), 1e-5) << n;
  }
}

TEST_P(Glyph, TheTableMayHaveEitherNameOrBoth) {
  const std::string tied = "encoder.embed_tokens.weight";
  const at::Tensor ids = at("glyph.in_ids"), expected = encoder.forward(ids);
  const auto renamed = changed([&](NamedTensors& tensors) {
    for (auto& [name, tensor] : tensors) name = name == "shared.weight" ? tied : name;
  });
  EXPECT_TRUE(at::equal(GlyphEncoder::open(renamed, {}).forward(ids), expected));
  const auto both = changed([&](NamedTensors& tensors) {
    tensors.emplace_back(tied, encoder.shared.weight);
    tensors.emplace_back("decoder.final_layer_norm.weight", at::ones({3}));
    tensors.emplace_back("lm_head.weight", at::ones({3}));
  });
  EXPECT_TRUE(at::equal(GlyphEncoder::open(both, {}).forward(ids), expected));
  const auto neither = changed([&](NamedTensors& tensors) {
    std::erase_if(tensors, [](const auto& entry) { return entry.first == "shared.weight"; });
  });
  try {
    GlyphEncoder::open(neither, {});
    ADD_FAILURE();
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), ::testing::HasSubstr("shared.weight"));
  }
}

TEST_P(Glyph, Float16KeepsTheLastProjectionWide) {
  const GlyphEncoder half = GlyphEncoder::open(folder, {.dtype = at::kHalf});
  EXPECT_EQ(half.blocks[0].wo.weight.scalar_type(), at::kFloat);
  EXPECT_EQ(half.blocks[0].wi_0.weight.scalar_type(), at::kHalf);
  EXPECT_TRUE(at::equal(half.blocks[0].wo.weight, encoder.blocks[0].wo.weight));
  const at::Tensor out = half.forward(at("glyph.in_ids"));
  EXPECT_EQ(out.scalar_type(), at::kHalf);
  EXPECT_LT(relative_error(out, at("glyph.out")), 0.01);

  const GlyphEncoder brain = GlyphEncoder::open(folder, {.dtype = at::kBFloat16});
  EXPECT_EQ(brain.blocks[0].wo.weight.scalar_type(), at::kBFloat16);
  EXPECT_LT(relative_error(brain.forward(at("glyph.in_ids")), at("glyph.out")), 0.06);
}

TEST_P(Glyph, ConfigRoundTrips) {
  const JsonObject json = JsonObject::open(folder / "config.json");
  const nlohmann::json written = GlyphConfig::from_json(json).to_json();
  for (const auto& [field, value] : written.items()) EXPECT_EQ(value, json.value().at(field)) << field;
}

JsonObject published(const std::string& field = "", nlohmann::json value = {}) {
  nlohmann::json json = {{"model_type", "t5"},
                         {"feed_forward_proj", "gated-gelu"},
                         {"vocab_size", 384},
                         {"d_model", 1472},
                         {"d_kv", 64},
                         {"num_heads", 6},
                         {"d_ff", 3584},
                         {"num_layers", 12},
                         {"relative_attention_num_buckets", 32},
                         {"layer_norm_epsilon", 1e-6}};
  if (!field.empty()) json[field] = std::move(value);
  return {"config.json", "", json};
}

TEST(GlyphConfig, PublishedModelHas217MillionParameters) {
  GlyphEncoder encoder(GlyphConfig::from_json(published()));
  ParameterList list;
  encoder.list(list);
  EXPECT_EQ(count_elements(list), 217657472);
  EXPECT_EQ(encoder.config.max_distance, 128);
}

TEST(GlyphConfig, RefusesOtherModelsAndMissingFields) {
  for (const auto& [field, value] : std::map<std::string, nlohmann::json>{{"model_type", "umt5"},
                                                                          {"feed_forward_proj", "relu"},
                                                                          {"d_kv", nullptr},
                                                                          {"num_layers", -1},
                                                                          {"relative_attention_num_buckets", 30},
                                                                          {"relative_attention_max_distance", 8},
                                                                          {"layer_norm_epsilon", nullptr}}) {
    try {
      GlyphConfig::from_json(published(field, value));
      ADD_FAILURE() << field << " was accepted";
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::checkpoint);
      EXPECT_THAT(e.what(), ::testing::HasSubstr(field));
    }
  }
}

TEST(GlyphInit, ANewEncoderIsFiniteAndOfUnitSize) {
  GlyphEncoder encoder({.vocab_size = 384,
                        .width = 48,
                        .head_dim = 8,
                        .heads = 3,
                        .feed_forward = 64,
                        .layers = 2,
                        .buckets = 32,
                        .max_distance = 128,
                        .eps = 1e-6});
  ParameterList list;
  encoder.list(list);
  init_parameters(list, make_generator(3));
  const at::Tensor out = encoder.forward(at::randint(3, 259, {1, 20}, make_generator(4), at::kLong));
  EXPECT_NEAR(out.std().item<double>(), 1.0, 0.05);
}

}  // namespace
}  // namespace glmimage
