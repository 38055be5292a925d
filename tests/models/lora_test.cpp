#include "models/lora/lora.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/rng.h"
#include "models/ar/model.h"
#include "models/dit/model.h"
#include "support/goldens.h"

namespace glmimage {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using test::golden;
using test::relative_error;
using ::testing::ElementsAre;

constexpr double kParity = 1e-4;  // to PEFT
constexpr double kSame = 1e-5;    // of two ways to the same thing, float32
constexpr const char* kToQ = "transformer_blocks.0.attn1.to_q";

DitModel open_dit() { return DitModel::open(golden("tiny_a/checkpoint/transformer"), {.dtype = at::kFloat}); }
ArModel load_ar() { return ArModel::load(golden("tiny_a/checkpoint/vision_language_encoder"), {.dtype = at::kFloat}); }

template <typename Model>
ParameterList parameters_of(Model& model) {
  ParameterList list;
  model.list(list);
  return list;
}

// tiny_a's models and what PEFT made of them.
class LoraTest : public ::testing::Test {
 protected:
  at::Tensor recorded(const std::string& name) const { return outputs.tensor(name); }
  at::Tensor run(const DitModel& model) const {
    return model.forward({.latents = recorded("dit.latents"),
                          .glyphs = recorded("dit.glyphs"),
                          .prior_ids = recorded("dit.prior"),
                          .prior_drop = recorded("dit.drop"),
                          .timestep = recorded("dit.timestep"),
                          .target_size = recorded("dit.target_size"),
                          .crop = recorded("dit.crop")});
  }
  at::Tensor run(const ArModel& model) const {
    return model.logits(model.forward(model.embed(recorded("ar.input_ids")), model.rope(recorded("ar.position_ids"))));
  }
  Lora match(const fs::path& file) { return match_lora(LoraFile::open(file), {.dit = &dit_list, .ar = &ar_list}); }

  SafetensorsFile outputs = SafetensorsFile::open(golden("tiny_a/lora/outputs.safetensors"));
  DitModel dit = open_dit();
  ArModel ar = load_ar();
  ParameterList dit_list = parameters_of(dit), ar_list = parameters_of(ar);
};

TEST_F(LoraTest, TransformerWithAdapterEqualsPeft) {
  EXPECT_LT(relative_error(run(dit), recorded("dit.base")), kParity);
  for (const char* name : {"tiny_a/lora/dit", "tiny_a/lora/dit_diffusers"}) {
    const Lora lora = match(golden(name));
    EXPECT_EQ(lora.dit.size(), 12u);
    EXPECT_TRUE(lora.ar.empty());
    EXPECT_THAT(lora.unmatched, ElementsAre());
    DitModel merged = open_dit(), attached = open_dit();
    merge_lora(parameters_of(merged), lora.dit);
    attach_lora(parameters_of(attached), lora.dit);
    EXPECT_LT(relative_error(run(merged), recorded("dit.adapted")), kParity) << name;
    EXPECT_LT(relative_error(run(attached), recorded("dit.adapted")), kParity) << name;
    EXPECT_LT(relative_error(run(merged), run(attached)), kSame) << name;
    EXPECT_GT(relative_error(run(merged), run(dit)), 0.1) << "the adapter changes something";
  }
}

// Joined before or after, q, k and v say the same.
TEST_F(LoraTest, LanguageModelWithAdapterEqualsPeft) {
  EXPECT_LT(relative_error(run(ar), recorded("ar.base")), kParity);
  const Lora lora = match(golden("tiny_a/lora/ar"));
  EXPECT_EQ(lora.ar.size(), 13u);
  EXPECT_THAT(lora.unmatched, ElementsAre()) << "PEFT keeps the head's own matrix in the file as well";
  ArModel merged = load_ar(), attached = load_ar();
  merge_lora(parameters_of(merged), lora.ar);
  attach_lora(parameters_of(attached), lora.ar);
  const at::Tensor apart = run(merged), beside = run(attached);
  merged.fuse();
  attached.fuse();
  EXPECT_TRUE(merged.layers[0].attention.qkv.weight.defined());
  EXPECT_FALSE(attached.layers[0].attention.qkv.weight.defined()) << "parts with a branch stay apart";
  for (const at::Tensor& logits : {apart, beside, run(merged), run(attached)}) {
    EXPECT_LT(relative_error(logits, recorded("ar.adapted")), kParity);
    EXPECT_LT(relative_error(logits, apart), kSame);
  }
  EXPECT_GT(relative_error(apart, run(ar)), 0.1);
}

// Mapped weights are read-only: another model of the same files must not see a merge.
TEST_F(LoraTest, MergingLeavesTheFilesAlone) {
  const at::Tensor mapped = dit.transformer_blocks[0].to_q.weight, copy = mapped.clone();
  merge_lora(dit_list, match(golden("tiny_a/lora/dit")).dit);
  EXPECT_FALSE(dit.transformer_blocks[0].to_q.weight.is_alias_of(mapped));
  EXPECT_FALSE(at::equal(dit.transformer_blocks[0].to_q.weight, copy));
  EXPECT_TRUE(at::equal(mapped, copy));
  EXPECT_TRUE(at::equal(open_dit().transformer_blocks[0].to_q.weight, copy));
}

TEST_F(LoraTest, ScaleZeroIsTheBase) {
  LowRankMap nothing;
  add_scaled(nothing, match(golden("tiny_a/lora/dit")).dit, 0);
  add_scaled(nothing, match(golden("tiny_a/lora/ar")).ar, -0.0);
  EXPECT_TRUE(nothing.empty());
  const at::Tensor latents = run(dit), logits = run(ar);
  merge_lora(dit_list, nothing);
  merge_lora(ar_list, nothing);
  attach_lora(dit_list, nothing);
  EXPECT_TRUE(at::equal(run(dit), latents));
  EXPECT_TRUE(at::equal(run(ar), logits));
}

TEST_F(LoraTest, ScalesAddUp) {
  const Lora lora = match(golden("tiny_a/lora/dit"));
  LowRankMap whole, parts, opposite;
  add_scaled(whole, lora.dit, 0.75);
  for (const double scale : {1.5, -1.0, 0.25}) add_scaled(parts, lora.dit, scale);
  for (const double scale : {2.0, -2.0}) add_scaled(opposite, lora.dit, scale);
  EXPECT_EQ(parts.begin()->second.a.size(0), 12);
  DitModel one = open_dit(), merged = open_dit(), attached = open_dit(), none = open_dit();
  merge_lora(parameters_of(one), whole);
  merge_lora(parameters_of(merged), parts);
  attach_lora(parameters_of(attached), parts);
  merge_lora(parameters_of(none), opposite);
  EXPECT_LT(relative_error(run(merged), run(one)), kSame);
  EXPECT_LT(relative_error(run(attached), run(one)), kSame);
  EXPECT_LT(relative_error(run(none), run(dit)), kSame);
  EXPECT_GT(relative_error(run(one), recorded("dit.adapted")), 0.01);
}

TEST_F(LoraTest, KeepsTheTypeOfTheWeights) {
  const auto folder = golden("tiny_a/checkpoint/transformer");
  DitModel merged = DitModel::open(folder, {.dtype = at::kBFloat16}), attached = merged;
  const Lora lora = match(golden("tiny_a/lora/dit"));
  merge_lora(parameters_of(merged), lora.dit);
  attach_lora(parameters_of(attached), lora.dit);
  EXPECT_EQ(merged.proj_out.weight.scalar_type(), at::kBFloat16);
  EXPECT_EQ(attached.proj_out.low_rank.a.scalar_type(), at::kFloat);
  for (const DitModel* model : {&merged, &attached}) {
    EXPECT_EQ(run(*model).scalar_type(), at::kBFloat16);
    EXPECT_LT(relative_error(run(*model), recorded("dit.adapted")), 0.1);
  }
}

// ---- names ----------------------------------------------------------------------------------------------------------

// tiny_a's adapter of the transformer, its alphas beside the matrices, in other people's words.
struct Naming {
  const char* title;
  std::string prefix, a, b;
  bool underscored = false;
};

NamedTensors renamed(const LowRankMap& pairs, const Naming& naming) {
  NamedTensors out;
  for (const auto& [name, pair] : pairs) {
    std::string module = name.substr(0, name.size() - std::string(".weight").size());
    if (naming.underscored) std::replace(module.begin(), module.end(), '.', '_');
    const std::string stem = naming.prefix + module;
    out.emplace_back(stem + naming.a, pair.a);
    out.emplace_back(stem + naming.b, pair.b);
    out.emplace_back(stem + ".alpha", at::full({}, pair.scale * static_cast<double>(pair.a.size(0)), at::kFloat));
  }
  return out;
}

void expect_same(const LowRankMap& actual, const LowRankMap& expected, const std::string& title) {
  ASSERT_EQ(actual.size(), expected.size()) << title;
  for (const auto& [name, pair] : expected) {
    ASSERT_TRUE(actual.count(name)) << title << " " << name;
    EXPECT_TRUE(at::equal(actual.at(name).a, pair.a)) << title << " " << name;
    EXPECT_TRUE(at::equal(actual.at(name).b, pair.b)) << title << " " << name;
    EXPECT_NEAR(actual.at(name).scale, pair.scale, 1e-6) << title << " " << name;
  }
}

TEST_F(LoraTest, AllNamingsGiveTheSamePairs) {
  const Lora one = match(golden("tiny_a/lora/dit")), two = match(golden("tiny_a/lora/ar"));
  EXPECT_DOUBLE_EQ(one.dit.at(std::string(kToQ) + ".weight").scale, 6.0 / 4);
  EXPECT_DOUBLE_EQ(one.dit.at("transformer_blocks.0.attn1.to_v.weight").scale, 10.0 / 4) << "alpha_pattern";
  EXPECT_DOUBLE_EQ(two.ar.at("lm_head.weight").scale, 8.0 / 2) << "use_rslora: alpha / √rank";
  const auto file = test::scratch_folder() / "renamed.safetensors";
  const std::string peft_a = ".lora_A.weight", peft_b = ".lora_B.weight", down = ".lora_down.weight",
                    up = ".lora_up.weight";
  for (const Naming& naming :
       {Naming{"diffusers", "transformer.", peft_a, peft_b},
        {"no prefix", "", peft_a, peft_b},
        {"PEFT", "base_model.model.", peft_a, peft_b},
        {"PEFT in a pipeline", "transformer.base_model.model.", peft_a, peft_b},
        {"the adapter's name", "base_model.model.", ".lora_A.default.weight", ".lora_B.default.weight"},
        {"ComfyUI", "diffusion_model.", peft_a, peft_b},
        {"ComfyUI, down and up", "diffusion_model.", down, up},
        {"kohya", "lora_unet_", down, up, true},
        {"diffusers of old", "transformer.", ".lora.down.weight", ".lora.up.weight"}}) {
    write_safetensors(file, renamed(one.dit, naming));
    const Lora lora = match(file);
    expect_same(lora.dit, one.dit, naming.title);
    EXPECT_TRUE(lora.ar.empty()) << naming.title;
    EXPECT_TRUE(lora.unmatched.empty()) << naming.title;
  }
  for (const Naming& naming : {Naming{"diffusers", "vision_language_encoder.", peft_a, peft_b},
                               {"no prefix", "", peft_a, peft_b},
                               {"kohya", "lora_te_", down, up, true},
                               {"kohya, first encoder", "lora_te1_", down, up, true}}) {
    write_safetensors(file, renamed(two.ar, naming));
    expect_same(match(file).ar, two.ar, naming.title);
  }
}

// Both models in one file, the alphas in diffusers' metadata.
TEST_F(LoraTest, MetadataTellsAlphas) {
  const auto file = test::scratch_folder() / "both.safetensors";
  const NamedTensors tensors = {{std::string("transformer.") + kToQ + ".lora_A.weight", at::ones({2, 32})},
                                {std::string("transformer.") + kToQ + ".lora_B.weight", at::ones({32, 2})},
                                {"vision_language_encoder.lm_head.lora_A.weight", at::ones({4, 32})},
                                {"vision_language_encoder.lm_head.lora_B.weight", at::ones({80, 4})}};
  const json metadata = {{"transformer.r", 2},
                         {"transformer.lora_alpha", 6},
                         {"vision_language_encoder.r", 8},
                         {"vision_language_encoder.rank_pattern", {{"lm_head", 4}}},
                         {"vision_language_encoder.lora_alpha", 1}};
  write_safetensors(file, tensors, {{"lora_adapter_metadata", metadata.dump()}});
  const Lora lora = match(file);
  EXPECT_DOUBLE_EQ(lora.dit.at(std::string(kToQ) + ".weight").scale, 3);
  EXPECT_DOUBLE_EQ(lora.ar.at("lm_head.weight").scale, 0.25);
  write_safetensors(file, tensors);
  EXPECT_DOUBLE_EQ(match(file).dit.at(std::string(kToQ) + ".weight").scale, 1) << "without a word, alpha is the rank";
}

TEST_F(LoraTest, UnknownNamesAreReportedAndNotUsed) {
  const auto file = test::scratch_folder() / "more.safetensors";
  NamedTensors tensors =
      renamed(match(golden("tiny_a/lora/dit")).dit, {"", "transformer.", ".lora_A.weight", ".lora_B.weight"});
  tensors.emplace_back("text_encoder.encoder.layer.0.q.lora_A.weight", at::ones({4, 8}));
  tensors.emplace_back("text_encoder.encoder.layer.0.q.lora_B.weight", at::ones({8, 4}));
  tensors.emplace_back("emb_params", at::ones({2}));
  write_safetensors(file, tensors);
  const Lora lora = match(file);
  EXPECT_EQ(lora.dit.size(), 12u);
  EXPECT_THAT(lora.unmatched, ElementsAre("text_encoder.encoder.layer.0.q.lora_A.weight", "emb_params"));
}

// ---- training -------------------------------------------------------------------------------------------------------

TEST_F(LoraTest, ANewAdapterChangesNothingAndLearnsAlone) {
  const at::Tensor before = run(dit);
  add_lora(dit_list, {.rank = 3, .alpha = 6, .targets = {"attn1.to_q", "attn1.to_out.0", "proj_out"}},
           make_generator(1));
  const ParameterList adapter = lora_parameters(dit_list);
  ASSERT_EQ(adapter.size(), 2 * (2 * 2 + 1u));
  EXPECT_EQ(adapter[0].name, std::string(kToQ) + ".lora_A.weight");
  EXPECT_EQ(adapter[1].name, std::string(kToQ) + ".lora_B.weight");
  EXPECT_EQ(adapter[0].shape, (std::vector<int64_t>{3, 32}));
  EXPECT_EQ(adapter[1].shape, (std::vector<int64_t>{32, 3}));
  const double bound = 1 / std::sqrt(32.0), largest = adapter[0].tensor->abs().max().item<double>();
  EXPECT_LE(largest, bound);
  EXPECT_GT(largest, 0.8 * bound);
  EXPECT_TRUE(at::equal(run(dit), before)) << "b is zero";

  for (const Parameter& p : adapter) p.tensor->requires_grad_(true);
  run(dit).square().sum().backward();
  for (const Parameter& p : adapter) {
    ASSERT_TRUE(p.tensor->grad().defined()) << p.name;
    const double size = p.tensor->grad().abs().max().item<double>();
    if (p.name.ends_with("lora_B.weight")) {
      EXPECT_GT(size, 0) << p.name;
    } else {
      EXPECT_EQ(size, 0) << p.name << " works through b, which is zero yet";
    }
  }
  for (const Parameter& p : dit_list) EXPECT_FALSE(p.tensor->requires_grad() || p.tensor->grad().defined()) << p.name;
  // Two steps downhill: then a learns too, and the loss is less.
  const double first = run(dit).square().sum().item<double>();
  for (int step = 0; step < 2; ++step) {
    for (const Parameter& p : adapter) *p.tensor = (*p.tensor - 1e-5 * p.tensor->grad()).detach().requires_grad_(true);
    run(dit).square().sum().backward();
  }
  EXPECT_GT(adapter[0].tensor->grad().abs().max().item<double>(), 0);
  EXPECT_LT(run(dit).square().sum().item<double>(), first);
}

TEST_F(LoraTest, WhatIsWrittenIsRead) {
  const auto file = test::scratch_folder() / "mine.safetensors";
  add_lora(dit_list, {.rank = 3, .alpha = 6, .targets = {"attn1.to_q", "proj_out"}}, make_generator(1));
  add_lora(dit_list, {.rank = 2, .alpha = 1, .targets = {"ff.net.2"}}, make_generator(2));
  add_lora(ar_list, {.rank = 5, .alpha = 10, .targets = {"q_proj", "lm_head"}}, make_generator(3));
  for (const ParameterList* list : {&dit_list, &ar_list}) {
    for (const Parameter& p : lora_parameters(*list)) {
      if (p.name.ends_with("lora_B.weight")) *p.tensor = at::randn(p.shape, make_generator(4), at::kFloat);
    }
  }
  write_lora(file, {.dit = &dit_list, .ar = &ar_list});
  const Lora lora = match(file);
  EXPECT_EQ(lora.dit.size(), 2 + 1 + 2u);
  EXPECT_EQ(lora.ar.size(), 2 + 1u);
  for (const auto& [list, pairs] : {std::pair(&dit_list, &lora.dit), std::pair(&ar_list, &lora.ar)}) {
    for (const Parameter& p : *list) {
      if (!pairs->count(p.name)) continue;
      EXPECT_TRUE(at::equal(pairs->at(p.name).a, p.low_rank->a)) << p.name;
      EXPECT_TRUE(at::equal(pairs->at(p.name).b, p.low_rank->b)) << p.name;
      EXPECT_DOUBLE_EQ(pairs->at(p.name).scale, p.low_rank->scale) << p.name;
    }
  }
  DitModel other = open_dit();
  merge_lora(parameters_of(other), lora.dit);
  EXPECT_LT(relative_error(run(other), run(dit)), kSame);

  write_lora(file, {.dit = &dit_list}, at::kBFloat16);
  const SafetensorsFile half = SafetensorsFile::open(file);
  EXPECT_EQ(half.tensors().size(), 10u);
  EXPECT_EQ(half.tensors()[0].dtype, at::kBFloat16);
  ArModel bare = load_ar();
  const ParameterList none = parameters_of(bare);
  EXPECT_THROW(write_lora(file, {.ar = &none}), Error);
}

TEST_F(LoraTest, RefusesTargetsThatNameNothing) {
  EXPECT_THROW(add_lora(dit_list, {.targets = {"attn1.to_q", "q_proj"}}, make_generator(1)), Error);
  EXPECT_THROW(add_lora(ar_list, {.targets = {"embed_tokens"}}, make_generator(1)), Error);
  EXPECT_THROW(add_lora(dit_list, {.rank = 0, .targets = {"attn1.to_q"}}, make_generator(1)), Error);
}

}  // namespace
}  // namespace glmimage
