#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/full.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "core/rng.h"
#include "pipeline/condition.h"
#include "pipeline/scheduler.h"
#include "support/gradients.h"
#include "train/losses/ar_loss.h"
#include "train/losses/flow_loss.h"
#include "train/losses/tokenizer_loss.h"
#include "train/optim/adam_w.h"
#include "train/presets.h"
#include "train/stage_helpers.h"
#include "train/stages/ar_sequences.h"
#include "train/stages/positional_heads.h"
#include "train/stages/processor.h"

namespace glmimage::train {
namespace {

using testing::ElementsAre;

TEST(NoiseLevels, FollowTheirDensityAndTheShiftOfDrawing) {
  constexpr int64_t kCount = 20000;
  const auto share_above_half = [&](Density density) {
    const NoiseLevels levels = draw_noise_levels(density, kCount, 256, make_generator(1));
    EXPECT_TRUE(at::allclose(levels.times, levels.sigmas));  // 256 tokens: no shift
    return (levels.times > 0.5).to(at::kFloat).mean().item<double>();
  };
  EXPECT_NEAR(share_above_half(Density::towards_noise), 0.75, 0.02);
  EXPECT_NEAR(share_above_half(Density::uniform), 0.5, 0.02);
  EXPECT_NEAR(share_above_half(Density::logit_normal), 0.5, 0.02);
  const auto middle = draw_noise_levels(Density::logit_normal, kCount, 256, make_generator(1)).times;
  EXPECT_NEAR(((middle > 0.25).logical_and(middle < 0.75)).to(at::kFloat).mean().item<double>(), 0.728, 0.02);
  // A large picture: the sigma of a label is the scheduler's.
  const glmimage::Schedule schedule = make_schedule({}, 4, 4096);
  const NoiseLevels large = draw_noise_levels(Density::uniform, 1000, 4096, make_generator(2));
  const double mu = resolution_shift({}, 4096), t = schedule.timesteps[2].item<double>() / 1000;
  EXPECT_NEAR(schedule.sigmas[2].item<double>(), mu * t / (1 + (mu - 1) * t), 1e-6);
  EXPECT_TRUE(at::allclose(large.sigmas, mu * large.times / (1 + (mu - 1) * large.times)));
}

// A tiny transformer whose output layers do something.
FlowModel tiny_flow() {
  const Preset preset = find_preset("tiny");
  FlowModel model{DitModel(preset.dit), GlyphEncoder(preset.glyph)};
  ParameterList list;
  model.list(list);
  init_parameters(list, make_generator(3));
  for (const Parameter& p : list) *p.tensor = at::randn(p.shape, make_generator(4), at::kFloat) * 0.2;
  return model;
}

EncodedPictures some_pictures(int64_t count, Grid grid, uint64_t seed) {
  at::Generator random = make_generator(seed);
  return {grid, at::randint(64, {count, grid.count()}, random, at::kLong),
          at::randn({count, 4, 4 * grid.height, 4 * grid.width}, random, at::kFloat)};
}

EncodedBatch some_batch(int64_t count) {
  EncodedBatch batch;
  batch.captions.assign(static_cast<size_t>(count), "a sign \"HI\" and 'YES'");
  batch.framings.resize(static_cast<size_t>(count));
  batch.target = some_pictures(count, {2, 3}, 5);
  return batch;
}

TEST(GlyphBatch, IsWhatDrawingSees) {
  at::NoGradGuard no_grad;
  const FlowModel model = tiny_flow();
  const std::vector<std::string> captions = {"no writing", "a \"B\" and a 'longer one'", "\"HI\""};
  const GlyphBatch batch = encode_glyph_batch(model.glyph, captions);
  const ByteTokenizer tokenizer;
  for (size_t i = 0; i < captions.size(); ++i) {
    const at::Tensor alone = encode_glyphs(model.glyph, tokenizer, captions[i]);  // (1, G, D)
    const auto row = static_cast<int64_t>(i);
    EXPECT_EQ(batch.mask[row].sum().item<int64_t>(), alone.size(1));
    EXPECT_TRUE(at::allclose(batch.glyphs[row].slice(0, 0, alone.size(1)), alone[0], 1e-4, 1e-5)) << captions[i];
  }
}

TEST(GlyphPlaces, CountFromBothEnds) {
  EXPECT_TRUE(glyph_places(4).equal(at::tensor({0, 2, 1, 1, 2, 0, -1, -1}, at::kLong).view({4, 2})));
  EXPECT_TRUE(glyph_places(1).equal(at::full({1, 2}, -1, at::kLong)));  // nothing is written
  const at::Tensor far = glyph_places(40);
  EXPECT_EQ(far[0][1].item<int64_t>(), 15);
  EXPECT_EQ(far[38][0].item<int64_t>(), 15);
  // In a batch each string counts for itself, and padding does not.
  const GlyphBatch batch = encode_glyph_batch(tiny_flow().glyph, {"\"AB\" 'C' “D”", "\"HELLO\"", "nothing"});
  EXPECT_EQ(batch.places.sizes(), at::IntArrayRef({3, 7, 2}));
  const at::Tensor first = at::tensor({0, -1, 0, -1, 0, 1, -1}, at::kLong);  // 'C', “D”, "AB": by kinds of marks
  EXPECT_TRUE(batch.places[0].select(-1, 0).equal(first)) << batch.places[0];
  EXPECT_EQ(batch.places[1][0][1].item<int64_t>(), 4);
  EXPECT_EQ(batch.places[2].max().item<int64_t>(), -1);
}

TEST(GlyphPlaces, CostWhatIsNotTold) {
  GlyphPlaceHeads heads(63);
  heads.places.weight = at::eye(63) * 30;  // a glyph that says it outright
  heads.places.bias = at::zeros({63});
  const at::Tensor places = glyph_places(4).unsqueeze(0);
  at::Tensor glyphs = at::zeros({1, 4, 63});
  EXPECT_NEAR(glyph_place_loss(heads, glyphs, places).item<double>(), (2 * std::log(16.0) + std::log(31.0)) / 3, 1e-5);
  for (int64_t i = 0; i < 3; ++i) {
    glyphs[0][i][i] = 1;                      // from the start
    glyphs[0][i][16 + 2 - i] = 1;             // from the end
    glyphs[0][i][32 + 15 + i - (2 - i)] = 1;  // from the middle
  }
  EXPECT_LT(glyph_place_loss(heads, glyphs, places).item<double>(), 1e-6);
  EXPECT_GT(glyph_place_loss(heads, glyphs.flip(1), places).item<double>(), 5);
  EXPECT_EQ(glyph_place_loss(heads, glyphs, at::full({1, 4, 2}, -1, at::kLong)).item<double>(), 0);
}

// An encoder that knows distances alone comes to tell places, and the flow loss carries the question to it.
TEST(GlyphPlaces, AreLearned) {
  FlowModel model = tiny_flow();
  read_in_columns(model.dit, model.glyph);
  model.glyph_places = GlyphPlaceHeads(model.glyph.config.width);
  ParameterList trained, heads;
  model.glyph.list(trained);
  model.glyph_places.list(heads);
  init_parameters(heads, make_generator(1));
  trained.insert(trained.end(), heads.begin(), heads.end());
  AdamW optimiser(trained, {.weight_decay = 0});
  const std::vector<std::string> words = {"\"A\"", "\"BCA\"", "\"ABCAB\"", "\"CCBA\"", "\"CB\"", "\"AACBBC\""};
  double first = 0, last = 0;
  for (int step = 0; step < 150; ++step) {
    const GlyphBatch batch = encode_glyph_batch(model.glyph, words);
    const at::Tensor loss = glyph_place_loss(model.glyph_places, batch.glyphs, batch.places);
    last = loss.item<double>();
    if (step == 0) first = last;
    loss.backward();
    optimiser.step(5e-3);
  }
  EXPECT_GT(first, 1.5);
  EXPECT_LT(last, 0.2);
  const EncodedBatch batch = some_batch(2);
  const auto flow = [&](double weight) {
    return flow_loss(model, batch, {.drop = 0, .glyph_place = weight}, make_generator(6)).item<double>();
  };
  EXPECT_NEAR((flow(2) - flow(0)) / (flow(1) - flow(0)), 2, 1e-3);
}

TEST(FlowLoss, ReferencesAreReadAndLearnAndAreDroppedTogether) {
  FlowModel model = tiny_flow();
  const auto loss = [&](const EncodedBatch& batch, double drop) {
    return flow_loss(model, batch, {.drop = drop}, make_generator(6));
  };
  EncodedBatch batch = some_batch(2);
  const double alone = loss(batch, 0).item<double>();
  batch.references = {some_pictures(2, {1, 2}, 7), some_pictures(2, {2, 2}, 8)};
  const double with = loss(batch, 0).item<double>();
  EXPECT_NE(with, alone);
  batch.references[1].latents = batch.references[1].latents + 1;
  EXPECT_NE(loss(batch, 0).item<double>(), with);
  // Dropped rows see neither prior, glyphs nor references.
  const double dropped = loss(batch, 1).item<double>();
  batch.references[1].latents = batch.references[1].latents + 1;
  EXPECT_NEAR(loss(batch, 1).item<double>(), dropped, 1e-6);
  batch.captions.assign(2, "");
  EXPECT_NEAR(loss(batch, 1).item<double>(), dropped, 1e-6);

  // The keys of the references carry a gradient: latents of a reference do.
  batch.references[0].latents = batch.references[0].latents.clone().set_requires_grad(true);
  loss(batch, 0).backward();
  EXPECT_GT(batch.references[0].latents.grad().abs().sum().item<double>(), 0);
}

TEST(FlowLoss, TheCropIsToldWhenAsked) {
  FlowModel model = tiny_flow();
  EncodedBatch batch = some_batch(2);
  const auto loss = [&](bool tell) {
    return flow_loss(model, batch, {.tell_crop = tell}, make_generator(6)).item<double>();
  };
  EXPECT_NEAR(loss(true), loss(false), 1e-5);
  batch.framings[1].y = 40;
  EXPECT_GT(std::abs(loss(true) - loss(false)), 1e-4);
}

class Sequences : public testing::Test {
 protected:
  void SetUp() override {
    const std::filesystem::path folder = fresh_folder("sequences");
    config_ = write_text_parts(folder, find_preset("tiny"), {"a cat", "one disc less"});
    chat_.emplace(ChatTemplate::open(folder / "processor",
                                     {config_.begin_image_id, config_.end_image_id, config_.image_placeholder_id}));
  }
  ArConfig config_;
  std::optional<ChatTemplate> chat_;
};

TEST_F(Sequences, OfATextSuperviseDraftPictureAndEnd) {
  EncodedBatch batch = some_batch(2);
  batch.captions = {"a cat", "one disc less"};
  batch.draft_grid = {1, 2};
  batch.draft_ids = at::randint(64, {2, 2}, make_generator(9), at::kLong);
  const SequenceBatch sequences = make_sequences(config_, *chat_, batch, 3);
  for (int64_t row = 0; row < 2; ++row) {
    const at::Tensor targets = sequences.targets[row], places = (targets >= 0).nonzero().flatten();
    EXPECT_EQ(places.numel(), 2 + 6 + 1);
    const at::Tensor wanted = targets.index_select(0, places);
    EXPECT_TRUE(at::equal(wanted.slice(0, 0, 2), batch.draft_ids[row]));
    EXPECT_TRUE(at::equal(wanted.slice(0, 2, 8), batch.target.ids[row]));
    EXPECT_EQ(wanted[8].item<int64_t>(), config_.end_image_id);
    const at::Tensor weights = sequences.weights[row].index_select(0, places);
    EXPECT_EQ(weights.slice(0, 0, 2).sum().item<double>(), 6);
    EXPECT_EQ(weights.slice(0, 2).sum().item<double>(), 7);
  }
  ArModel model(config_);
  ParameterList list;
  model.list(list);
  init_parameters(list, make_generator(1));
  const double weighted = sequence_loss(model, sequences).item<double>();
  EXPECT_NEAR(weighted, std::log(64.0 + 128), 0.5);
  EXPECT_EQ(target_weight(sequences), 2 * (6 + 7));
  SequenceBatch even = make_sequences(config_, *chat_, batch, 1);
  EXPECT_NE(sequence_loss(model, even).item<double>(), weighted);
  const double all = sequence_loss(model, even).item<double>();
  even.weights = at::Tensor();
  EXPECT_NEAR(sequence_loss(model, even).item<double>(), all, 1e-5);
  EXPECT_EQ(target_weight(even), 2 * (2 + 6 + 1));
}

TEST_F(Sequences, OfAnEditReadTheSourcesAndSuperviseThePicture) {
  EncodedBatch batch = some_batch(1);
  batch.references = {some_pictures(1, {1, 2}, 7), some_pictures(1, {2, 2}, 8)};
  const SequenceBatch sequences = make_sequences(config_, *chat_, batch, 3);
  EXPECT_EQ((sequences.targets >= 0).sum().item<int64_t>(), 6 + 1);
  const at::Tensor ids = sequences.ids[0];
  EXPECT_EQ(ids[0].item<int64_t>(), config_.begin_image_id);
  EXPECT_TRUE(at::equal(ids.slice(0, 1, 3), batch.references[0].ids[0]));
  EXPECT_EQ(ids[3].item<int64_t>(), config_.end_image_id);
  EXPECT_TRUE(at::equal(ids.slice(0, 5, 9), batch.references[1].ids[0]));
  EXPECT_EQ(sequences.weights.max().item<double>(), 1);
  EXPECT_EQ(sequences.positions.size(2), ids.size(0));
}

TEST(TokenizerLoss, PicturesWithoutLabelsAddPixelsAlone) {
  const Preset preset = find_preset("tiny");
  VisualTokenizer model(VisualTokenizerConfig{preset.vision, preset.vq});
  TokenizerHeads heads(preset.vision, preset.vq, 5, 3);
  ParameterList list;
  model.list(list);
  heads.list(list);
  init_parameters(list, make_generator(1));
  const auto leaves = test::record_gradients(list);
  TokenizerBatch batch;
  batch.grid = {2, 2};
  batch.patches = at::randn({2, 4, preset.vision.patch_values()}, make_generator(2), at::kFloat);
  batch.labels = batch.parts = batch.background = at::full({2, 4}, kNothing, at::kLong);
  batch.unlabelled = at::full({2}, 1.0, at::kFloat);
  const TokenizerLosses without = tokenizer_losses(model, heads, batch);
  EXPECT_GT(without.pixels, 0);
  without.total.backward();
  EXPECT_TRUE(std::isfinite(without.total.item<double>()));
  EXPECT_EQ(leaves.at("heads.name_alone.weight").grad().abs().sum().item<double>(), 0);
  EXPECT_GT(leaves.at("heads.pixels.weight").grad().abs().sum().item<double>(), 0);
  EXPECT_GT(leaves.at("model.visual.patch_embed.proj.weight").grad().abs().sum().item<double>(), 0);
  // A labelled row beside an unlabelled one: both have something to say.
  batch.labels[0].fill_(2);
  batch.unlabelled[0].fill_(0);
  const TokenizerLosses mixed = tokenizer_losses(model, heads, batch);
  EXPECT_GT(mixed.pixels, 0);
  EXPECT_LT(mixed.pixels, without.pixels);
  EXPECT_TRUE(std::isfinite(mixed.total.item<double>()));
}

}  // namespace
}  // namespace glmimage::train
