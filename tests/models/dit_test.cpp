#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/GradMode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <optional>

#include "core/error.h"
#include "core/rng.h"
#include "core/safetensors.h"
#include "models/dit/model.h"
#include "support/goldens.h"
#include "support/gradients.h"

namespace glmimage {
namespace {

using test::golden;
using test::relative_error;

constexpr double kTolerance = 1e-4;

class Dit : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const std::string name = GetParam();
    model = DitModel::open(golden(name + "/checkpoint/transformer"), {.dtype = at::kFloat});
    file.emplace(SafetensorsFile::open(golden(name + "/modules.safetensors")));
  }

  bool has(const std::string& name) const { return file->find(name) != nullptr; }
  at::Tensor at(const std::string& name) const { return file->tensor("dit." + name); }
  // A recorded request; what a variant does not repeat comes from `cond`.
  DitInput input(const std::string& name) const {
    const auto get = [&](const std::string& key) {
      return at((has("dit." + name + "." + key) ? name : "cond") + "." + key);
    };
    return {.latents = get("latents"),
            .glyphs = get("glyphs"),
            .prior_ids = get("prior"),
            .prior_drop = get("drop"),
            .timestep = get("timestep"),
            .target_size = get("target_size"),
            .crop = get("crop_coords")};
  }
  ReferenceCache references(const std::vector<std::string>& names) const {
    ReferenceCache cache;
    for (const std::string& name : names) model.write_references(input(name), cache);
    return cache;
  }
  // `tokens` glyph tokens, drawn.
  at::Tensor drawn_glyphs(int64_t tokens, uint64_t seed) const {
    return at::randn({1, tokens, model.config.text_dim}, make_generator(seed), at::kFloat);
  }

  DitModel model;
  std::optional<SafetensorsFile> file;
};

INSTANTIATE_TEST_SUITE_P(Goldens, Dit, ::testing::Values("tiny_a", "tiny_b", "tiny_c"));

TEST_P(Dit, ForwardEqualsTheReference) {
  for (const std::string name : {"cond", "dropped", "no_glyphs", "batch", "train"}) {
    EXPECT_LT(relative_error(model.forward(input(name)), at(name + ".out")), kTolerance) << name;
  }
}

TEST_P(Dit, InnerValuesEqualTheReference) {
  const DitInput in = input("cond");
  const DitPrepared prepared = model.prepare(in);
  const at::Tensor e = model.conditioning(in.timestep, prepared);
  const DitStreams h = model.embed(in.latents, prepared);
  const int64_t g = in.glyphs.size(1), n = prepared.grid.count(), half = model.config.head_dim / 2;
  EXPECT_LT(relative_error(e, at("cond.time_embed")), kTolerance);
  EXPECT_LT(relative_error(h.glyphs, at("cond.glyph_projector.out")), kTolerance);
  EXPECT_LT(relative_error(prepared.prior, at("cond.prior_projector.out")), kTolerance);
  EXPECT_LT(relative_error(h.image, at("cond.image_projector.out") + at("cond.prior_projector.out")), kTolerance);
  // The reference repeats the angles for both halves of a head, and has no rows for glyph tokens.
  EXPECT_LT(relative_error(prepared.rope.cos.narrow(0, g, n).squeeze(1), at("cond.rope.cos").narrow(1, 0, half)), 1e-6);
  EXPECT_LT(relative_error(prepared.rope.sin.narrow(0, g, n).squeeze(1), at("cond.rope.sin").narrow(1, half, half)),
            1e-6);
  EXPECT_TRUE(at::equal(prepared.rope.cos.narrow(0, 0, g), at::ones({g, 1, half})));
  EXPECT_TRUE(at::equal(prepared.rope.sin.narrow(0, 0, g), at::zeros({g, 1, half})));

  const DitBlock& block = model.transformer_blocks[0];
  EXPECT_LT(relative_error(block.norm1(e), at("cond.block.0.modulation")), kTolerance);
  const DitAttention context = {.rope = prepared.rope, .key_bias = {}};
  const DitStreams out = block(h, e, context);
  EXPECT_LT(relative_error(out.image, at("cond.block.0.out")), kTolerance);
  EXPECT_LT(relative_error(out.glyphs, at("cond.block.0.out.1")), kTolerance);
  const DitStreams dropped = block(h, e, context, GlyphOutput::drop);
  EXPECT_LT(relative_error(dropped.image, out.image), 1e-6);
  EXPECT_FALSE(dropped.glyphs.defined());
}

TEST_P(Dit, ReferencesAreWrittenAndReadAsInTheReference) {
  ReferenceCache cache = references({"reference.0"});
  EXPECT_EQ(cache.blocks.size(), model.transformer_blocks.size());
  EXPECT_LT(relative_error(cache.blocks[0].k, at("reference.0.cache.0.k")), kTolerance);
  EXPECT_LT(relative_error(cache.blocks[0].v, at("reference.0.cache.0.v")), kTolerance);
  EXPECT_LT(relative_error(model.forward(input("cond"), &cache), at("read_one.out")), kTolerance);
  model.write_references(input("reference.1"), cache);
  EXPECT_EQ(cache.tokens(), 4 + 8);
  EXPECT_LT(relative_error(model.forward(input("cond"), &cache), at("read_two.out")), kTolerance);
  EXPECT_LT(relative_error(model.forward(input("cond")), at("skip.out")), kTolerance);
  const ReferenceCache nothing;
  EXPECT_TRUE(at::equal(model.forward(input("cond"), &nothing), model.forward(input("cond"))));
}

TEST_P(Dit, GradientsEqualTheReference) {
  if (!has("grad.dit.projection")) GTEST_SKIP() << "no gradients recorded for this checkpoint";
  ParameterList list;
  model.list(list);
  std::map<std::string, at::Tensor> leaves = test::record_gradients(list);
  DitInput in = input("train");
  leaves["latents"] = in.latents = in.latents.clone().requires_grad_(true);
  leaves["glyphs"] = in.glyphs = in.glyphs.clone().requires_grad_(true);

  (model.forward(in) * file->tensor("grad.dit.projection")).sum().backward();
  // A bias of the keys shifts all scores alike before the norm: its gradient is small, so the bound is wider.
  EXPECT_GE(test::expect_gradients(leaves, *file, "grad.dit.", 2e-4), 10);
}

TEST_P(Dit, StepAfterPrepareIsForward) {
  const ReferenceCache cache = references({"reference.0", "reference.1"});
  for (const std::string name : {"cond", "dropped", "no_glyphs", "batch"}) {
    const DitInput in = input(name);
    const DitPrepared prepared = model.prepare(in);
    for (const ReferenceCache* read : {static_cast<const ReferenceCache*>(nullptr), &cache}) {
      EXPECT_TRUE(
          at::equal(model.step(in.latents, in.timestep, prepared, {.references = read}), model.forward(in, read)))
          << name;
      const at::Tensor other = in.timestep - 300;
      DitInput later = in;
      later.timestep = other;
      EXPECT_TRUE(at::equal(model.step(in.latents, other, prepared, {.references = read}), model.forward(later, read)))
          << name;
    }
  }
}

// Remembers the image stream before each block and behind the last, and answers before one block with what it was
// given.
struct RecordedBlocks : BlockCache {
  at::Tensor shortcut(int64_t block, const at::Tensor& image) override {
    entering.push_back(image);
    return block == answer_at ? answer : at::Tensor();
  }
  void computed(const at::Tensor& image) override { leaving = image; }
  int64_t answer_at = -1;
  at::Tensor answer, leaving;
  std::vector<at::Tensor> entering;
};

TEST_P(Dit, ABlockCacheMayStandInForTheBlocks) {
  const ReferenceCache cache = references({"reference.0", "reference.1"});
  for (const std::string name : {"cond", "batch"}) {
    DitInput in = input(name);
    in.glyph_mask = at::ones({1, in.glyphs.size(1)}, at::kBool);
    in.glyph_mask[0][0] = false;
    const DitPrepared prepared = model.prepare(in);
    const auto step = [&](BlockCache* blocks) {
      return model.step(in.latents, in.timestep, prepared, {.references = &cache, .blocks = blocks});
    };
    const at::Tensor expected = step(nullptr);
    RecordedBlocks silent;
    EXPECT_TRUE(at::equal(step(&silent), expected)) << name;
    ASSERT_EQ(silent.entering.size(), model.transformer_blocks.size());
    ASSERT_TRUE(silent.leaving.defined());
    EXPECT_TRUE(at::equal(silent.entering[0], model.embed(in.latents, prepared).image));
    for (int64_t at_block = 0; at_block < model.config.layers; ++at_block) {
      RecordedBlocks answering;
      answering.answer_at = at_block;
      answering.answer = silent.leaving;
      EXPECT_TRUE(at::equal(step(&answering), expected)) << name;
      EXPECT_EQ(answering.entering.size(), static_cast<size_t>(at_block + 1));
      EXPECT_TRUE(at::equal(answering.entering.back(), silent.entering[static_cast<size_t>(at_block)]));
      EXPECT_FALSE(answering.leaving.defined());
      answering.answer = silent.leaving.flip(2);  // not scaled: the norm behind the blocks would undo that
      EXPECT_GT(relative_error(step(&answering), expected), 1e-2) << name;
    }
  }
}

// Rows with 5, 2 and 0 glyph tokens in one batch, the padding filled with large numbers that must not matter.
TEST_P(Dit, PaddedGlyphsEqualSinglePasses) {
  const std::vector<int64_t> lengths = {5, 2, 0};
  const DitInput one = input("cond");
  std::vector<at::Tensor> padded, masks, expected, latents, timesteps;
  for (int64_t row = 0; row < 3; ++row) {
    DitInput in = one;
    in.latents = one.latents * (1 + 0.3 * row) - 0.1;
    in.timestep = one.timestep - 50.0 * row;
    in.glyphs = drawn_glyphs(lengths[row], 10 + row);
    expected.push_back(model.forward(in));
    latents.push_back(in.latents);
    timesteps.push_back(in.timestep);
    padded.push_back(at::cat({in.glyphs, drawn_glyphs(5 - lengths[row], 99) * 100}, 1));
    masks.push_back(at::cat({at::ones({1, lengths[row]}, at::kBool), at::zeros({1, 5 - lengths[row]}, at::kBool)}, 1));
  }
  DitInput batch = one;  // prior, drop, size and crop with one row serve all three
  batch.latents = at::cat(latents);
  batch.timestep = at::cat(timesteps);
  batch.glyphs = at::cat(padded);
  batch.glyph_mask = at::cat(masks);
  EXPECT_LT(relative_error(model.forward(batch), at::cat(expected)), 1e-5);
}

TEST_P(Dit, APairOfPassesEqualsTwo) {
  const c10::NoGradGuard no_grad;
  DitInput first = input("cond"), second = first;
  second.glyphs = first.glyphs.narrow(1, 0, 1);
  second.prior_drop = at::ones({1}, at::kBool);
  first.latents = at::cat({first.latents, first.latents.flip(3)});
  const DitPrepared a = model.prepare(first), b = model.prepare(second);
  const at::Tensor twice = at::cat({first.latents, first.latents});
  const at::Tensor apart =
      at::cat({model.step(first.latents, first.timestep, a), model.step(first.latents, first.timestep, b)});
  EXPECT_LT(relative_error(model.step(twice, first.timestep, DitPrepared::pair(a, b, 2)), apart), 1e-5);
  const at::Tensor other_way = at::cat({apart.narrow(0, 2, 2), apart.narrow(0, 0, 2)});
  EXPECT_LT(relative_error(model.step(twice, first.timestep, DitPrepared::pair(b, a, 2)), other_way), 1e-5);

  DitInput masked = first;  // padding that a pass has already
  masked.glyph_mask = at::ones({1, first.glyphs.size(1)}, at::kBool);
  masked.glyph_mask.narrow(1, first.glyphs.size(1) - 1, 1).fill_(false);
  const DitPrepared c = model.prepare(masked);
  const at::Tensor of_masked = model.step(first.latents, first.timestep, c);
  EXPECT_GT(relative_error(of_masked, apart.narrow(0, 0, 2)), 1e-3);
  EXPECT_LT(relative_error(model.step(twice, first.timestep, DitPrepared::pair(c, b, 2)).narrow(0, 0, 2), of_masked),
            1e-5);
}

TEST_P(Dit, PriorIsDroppedByPictureOrByToken) {
  DitInput in = input("cond");
  in.prior_drop = at::ones({1}, at::kBool);
  EXPECT_LT(relative_error(model.forward(in), at("dropped.out")), kTolerance);
  in.prior_drop = at::Tensor();
  EXPECT_LT(relative_error(model.forward(in), at("cond.out")), kTolerance);
}

TEST_P(Dit, StackedReferencesEqualSinglePasses) {
  const ReferenceCache one = references({"reference.0"}), two = references({"reference.0", "reference.1"});
  DitInput in = input("cond");
  const at::Tensor expected = at::cat({model.forward(in, &two), model.forward(in), model.forward(in, &one)});
  const ReferenceCache stacked = ReferenceCache::stack({two, {}, one});
  EXPECT_EQ(stacked.samples(), 3);
  in.latents = in.latents.repeat({3, 1, 1, 1});
  EXPECT_LT(relative_error(model.forward(in, &stacked), expected), 1e-5);
  in.latents = in.latents.repeat_interleave(2, 0);  // two pictures for each sample
  EXPECT_LT(relative_error(model.forward(in, &stacked), expected.repeat_interleave(2, 0)), 1e-5);
  in.latents = in.latents.narrow(0, 0, 4);
  EXPECT_THROW(model.forward(in, &stacked), Error);

  // A picture behind a padded sample is real again.
  const ReferenceCache pair = ReferenceCache::stack({references({"reference.0"}), {}});
  ReferenceCache longer = pair;
  DitInput both = input("reference.1");
  both.latents = both.latents.repeat({2, 1, 1, 1});
  model.write_references(both, longer);
  in = input("cond");
  const ReferenceCache second = references({"reference.1"});
  const at::Tensor wanted = at::cat({model.forward(in, &two), model.forward(in, &second)});
  in.latents = in.latents.repeat({2, 1, 1, 1});
  EXPECT_LT(relative_error(model.forward(in, &longer), wanted), 1e-5);
}

TEST_P(Dit, ReferencesCarryGradients) {
  model.transformer_blocks[0].to_v.weight = model.transformer_blocks[0].to_v.weight.clone().requires_grad_(true);
  const ReferenceCache cache = references({"reference.0"});
  EXPECT_TRUE(cache.blocks[0].v.requires_grad());
  model.forward(input("cond"), &cache).sum().backward();
  EXPECT_GT(model.transformer_blocks[0].to_v.weight.grad().abs().sum().item<double>(), 0);
}

TEST_P(Dit, RunsInBfloat16) {
  const DitModel half =
      DitModel::open(golden(std::string(GetParam()) + "/checkpoint/transformer"), {.dtype = at::kBFloat16});
  const at::Tensor out = half.forward(input("batch"));
  EXPECT_EQ(out.scalar_type(), at::kBFloat16);
  EXPECT_LT(relative_error(out, at("batch.out")), 0.05);
}

TEST_P(Dit, RefusesInputsThatDoNotFit) {
  DitInput in = input("cond");
  in.prior_ids = in.prior_ids.narrow(1, 0, 5);
  EXPECT_THROW(model.forward(in), Error);
  in = input("cond");
  in.glyphs = in.glyphs.narrow(2, 0, 3);
  EXPECT_THROW(model.forward(in), Error);
  in = input("cond");
  in.latents = in.latents.narrow(2, 0, 3);
  EXPECT_THROW(model.forward(in), Error);
}

TEST_P(Dit, ConfigRoundTrips) {
  const JsonObject json = JsonObject::open(golden(std::string(GetParam()) + "/checkpoint/transformer/config.json"));
  EXPECT_EQ(DitConfig::from_json(json).to_json(), json.value());
}

JsonObject published(const std::string& field = "", nlohmann::json value = {}) {
  nlohmann::json json = {{"_class_name", "GlmImageTransformer2DModel"},
                         {"num_attention_heads", 32},
                         {"attention_head_dim", 128},
                         {"num_layers", 30},
                         {"patch_size", 2},
                         {"in_channels", 16},
                         {"out_channels", 16},
                         {"text_embed_dim", 1472},
                         {"time_embed_dim", 512},
                         {"condition_dim", 256},
                         {"prior_vq_quantizer_codebook_size", 16384}};
  if (!field.empty()) json[field] = std::move(value);
  return {"config.json", "", json};
}

TEST(DitConfig, PublishedModelHas443Tensors) {
  DitModel model(DitConfig::from_json(published()));
  ParameterList list;
  model.list(list);
  EXPECT_EQ(list.size(), 443u);
  EXPECT_EQ(count_elements(list), 6926882880);
}

TEST(DitConfig, RefusesOtherModelsAndMissingFields) {
  for (const auto& [field, value] : std::map<std::string, nlohmann::json>{{"_class_name", "SD3Transformer2DModel"},
                                                                          {"num_layers", nullptr},
                                                                          {"attention_head_dim", 6},
                                                                          {"time_embed_dim", 7},
                                                                          {"condition_dim", 5},
                                                                          {"patch_size", 0},
                                                                          {"in_channels", "16"}}) {
    try {
      DitConfig::from_json(published(field, value));
      ADD_FAILURE() << field << " was accepted";
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::checkpoint);
      EXPECT_THAT(e.what(), ::testing::HasSubstr(field));
    }
  }
}

TEST(DitInit, ANewModelBeginsAtZero) {
  DitConfig config = {.heads = 2,
                      .head_dim = 8,
                      .layers = 2,
                      .in_channels = 4,
                      .out_channels = 4,
                      .text_dim = 6,
                      .time_dim = 8,
                      .condition_dim = 4,
                      .codes = 10};
  DitModel model(config);
  ParameterList list;
  model.list(list);
  init_parameters(list, make_generator(1));
  const at::Tensor latents = at::randn({1, 4, 4, 4}, make_generator(2), at::kFloat);
  const DitInput in = {.latents = latents,
                       .glyphs = at::zeros({1, 3, 6}),
                       .prior_ids = at::zeros({1, 4}, at::kLong),
                       .timestep = at::ones({1}),
                       .target_size = at::ones({1, 2}),
                       .crop = at::zeros({1, 2})};
  const DitPrepared prepared = model.prepare(in);
  const DitStreams h = model.embed(latents, prepared);
  EXPECT_GT(h.image.std().item<double>(), 0.2);
  const DitStreams out = model.transformer_blocks[0](h, model.conditioning(in.timestep, prepared),
                                                     {.rope = prepared.rope, .key_bias = {}});
  EXPECT_TRUE(at::equal(out.image, h.image));
  EXPECT_TRUE(at::equal(model.forward(in), at::zeros_like(latents)));
}

}  // namespace
}  // namespace glmimage
