// The four stages on pictures of one's own, from nothing and from a checkpoint.
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/equal.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "core/image.h"
#include "pipeline/pipeline.h"
#include "train/stage_helpers.h"
#include "train/stages/assemble.h"

namespace glmimage::train {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using Train = void (*)(const StageOptions&);

// Made once for all tests here: an album, and a checkpoint of four stages trained on it for a moment.
class StagesTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    at::set_num_threads(1);  // sums are added in one order
    root_ = fresh_folder("stages");
    album_ = album(root_ / "album", 24);
    pairs_ = editing_list(album_, 24);
    train_vae(on_album("vae", "vae", 30));
    train_tokenizer(on_album("tokenizer", "tokenizer", 30));
    train_dit(on_album("dit", "dit", 40));
    StageOptions ar = on_album("ar", "ar", 100);
    ar.config.learning_rate = 1e-2;
    train_ar(ar);
    checkpoint_ = root_ / "checkpoint";
    assemble_checkpoint({root_ / "vae/final", root_ / "dit/final", root_ / "ar/final"}, checkpoint_);
  }

  // A run of `stage` in root_/name on the album, with the finished parts of the runs above.
  static StageOptions on_album(const std::string& stage, const std::string& name, int64_t steps) {
    StageOptions options = tiny_stage(stage, root_ / name, steps);
    options.config.data = {album_};
    if (stage != "vae") options.config.data_config.areas = {128};  // the first area with buckets of several shapes
    if (stage == "dit") options.vae = root_ / "vae/final";
    if (stage == "dit" || stage == "ar") options.tokenizer = root_ / "tokenizer/final";
    return options;
  }
  // An adapter of `stage` on the checkpoint.
  static StageOptions adapter(const std::string& stage, const std::string& name, int64_t steps) {
    StageOptions options = on_album(stage, name, steps);
    options.vae = options.tokenizer = "";
    options.init = checkpoint_;
    options.config.lora.rank = 4;
    options.config.learning_rate = 1e-2;
    return options;
  }
  static std::vector<uint8_t> drawn(const std::vector<LoraChoice>& loras) {
    const Pipeline pipeline = Pipeline::open({.model = checkpoint_, .dtype = at::kFloat, .loras = loras});
    GenerateRequest request;
    request.prompt = "disc number 3";
    request.steps = 3;
    request.seed = 5;
    return pipeline.generate(request).image.pixels;
  }

  static inline fs::path root_, album_, pairs_, checkpoint_;
};

TEST_F(StagesTest, LearnFromPicturesOfSeveralShapes) {
  for (const char* run : {"vae", "tokenizer", "dit", "ar"}) {
    std::ifstream stream(root_ / run / "data_report.json");
    const auto report = nlohmann::json::parse(stream);
    EXPECT_EQ(report["sources"][0]["used"], 24) << run;
    EXPECT_EQ(report["held_out"], 3) << run;
    EXPECT_EQ(metrics(root_ / run, "wait").size(), metrics(root_ / run, "loss").size()) << run;
  }
  std::ifstream stream(root_ / "dit/data_report.json");
  EXPECT_GE(nlohmann::json::parse(stream)["pools"][0]["buckets"].size(), 2U);
  EXPECT_EQ(metrics(root_ / "ar", "held_out_loss").size(), 1U);
  EXPECT_EQ(metrics(root_ / "dit", "held_out_loss").size(), 1U);
  EXPECT_EQ(metrics(root_ / "vae", "held_out_psnr").size(), 1U);
  EXPECT_GT(metrics(root_ / "tokenizer", "pixels").at(0), 0);  // nobody labelled the album
  EXPECT_EQ(drawn({}).size(), 3U * 64 * 64);
}

TEST_F(StagesTest, LearnFromEditingPairsAndMixes) {
  for (const auto& [stage, train] : {std::pair<const char*, Train>("dit", train_dit), {"ar", train_ar}}) {
    StageOptions pairs = on_album(stage, concat(stage, "_pairs"), 6);
    pairs.config.data = {pairs_};
    train(pairs);
    EXPECT_EQ(metrics(pairs.out, "loss").size(), 6U);
    StageOptions mix = on_album(stage, concat(stage, "_mix"), 12);
    mix.config.data = {pairs_.native() + "@1", album_.native() + "@1", "synthetic:16@1"};
    train(mix);
    EXPECT_EQ(metrics(mix.out, "loss").size(), 12U);
    EXPECT_TRUE(fs::exists(mix.out / "final"));
  }
  StageOptions mix = on_album("tokenizer", "tokenizer_mix", 8);
  mix.config.data = {album_, "synthetic:32"};
  mix.config.batch = 8;
  train_tokenizer(mix);
  EXPECT_EQ(metrics(mix.out, "held_out_cells_named_by_code_alone").size(), 1U);
}

TEST_F(StagesTest, MissingDataEndsTheRunBeforeItBegins) {
  for (const auto& [stage, train] : {std::pair<const char*, Train>("vae", train_vae),
                                     {"tokenizer", train_tokenizer},
                                     {"dit", train_dit},
                                     {"ar", train_ar}}) {
    StageOptions options = on_album(stage, concat(stage, "_nothing"), 6);
    options.config.data = {(root_ / "nowhere").native()};
    EXPECT_THAT(message_of([&] { train(options); }, ErrorKind::usage), HasSubstr("nowhere"));
    EXPECT_FALSE(fs::exists(options.out / "state")) << stage;
    EXPECT_FALSE(fs::exists(options.out / "final")) << stage;
  }
}

TEST_F(StagesTest, TheTransformerDrawsSamplesOnTheWay) {
  StageOptions options = on_album("dit", "dit_samples", 4);
  options.config.sample_every = 2;
  options.config.data = {album_, pairs_};
  train_dit(options);
  const Image sheet = load_image(options.out / "samples/step-00000003-held_out.png");
  const auto ids = [&](const std::string& name) { return load_image(options.out / "samples" / name).pixels; };
  EXPECT_GE(sheet.width, 2 * 128);  // beside its target
  EXPECT_GT(sheet.height, 3 * 64);
  EXPECT_TRUE(ids("step-00000001-held_out.png") != sheet.pixels);

  options = adapter("dit", "dit_prompts", 2);
  options.config.sample_every = 2;
  options.config.prompts = {"disc number 3", "disc number 7"};
  train_dit(options);
  const Image drawn = load_image(options.out / "samples/step-00000001-prompts.png");
  EXPECT_EQ(drawn.width, 64);
  EXPECT_EQ(drawn.height, 2 * 64);

  options = on_album("dit", "dit_no_samples", 1);
  options.config.sample_every = 1;
  options.config.prompts = {"disc number 3"};
  EXPECT_THAT(message_of([&] { train_dit(options); }, ErrorKind::usage), HasSubstr("need a language model"));
  options.config.prompts = {};
  options.config.held_out = 0;
  EXPECT_THAT(message_of([&] { train_dit(options); }, ErrorKind::usage), HasSubstr("held_out"));
}

// All steps at once against a run that is stopped, killed before its last state and goes on, with another cache state.
TEST_F(StagesTest, GoOnBitForBitWithWarmAndColdCaches) {
  struct Case {
    const char* stage;
    Train train;
    const char* weights;
  };
  for (const auto& [stage, train, weights] : {Case{"dit", train_dit, "transformer/diffusion_pytorch_model.safetensors"},
                                              Case{"ar", train_ar, "vision_language_encoder/model.safetensors"}}) {
    StageOptions straight = on_album(stage, concat(stage, "_straight"), 8);
    straight.config.data = {album_, pairs_};
    train(straight);
    for (const char* cache : {"warm", "cold", "crops"}) {
      StageOptions broken = straight;
      broken.out = root_ / concat(stage, "_", cache);
      broken.config.save_every = 3;
      if (std::string(cache) == "warm") {
        broken.config.cache = straight.out / "cache";
        broken.config.held_out_every = 2;  // watching changes nothing
        if (train == train_dit) broken.config.sample_every = 4;
      }
      if (std::string(cache) == "crops") {  // no cache at all, and another result
        broken.config.data_config.crop = straight.config.data_config.crop = CropAt::random;
        straight.out = root_ / concat(stage, "_straight_crops");
        train(straight);
      }
      train(broken);
      fs::remove_all(broken.out / "state" / "step-00000008");
      fs::remove_all(broken.out / "final");
      if (std::string(cache) == "cold") fs::remove_all(broken.out / "cache");
      train(broken);
      EXPECT_EQ(first_difference(straight.out / "final" / weights, broken.out / "final" / weights), "") << cache;
    }
  }
}

// A vocabulary of other captions numbers other words: the embeddings of the state would be theirs.
TEST_F(StagesTest, ALanguageModelGoesOnWithItsOwnWordsAlone) {
  const fs::path pictures = album(root_ / "renamed", 8);
  StageOptions options = on_album("ar", "renamed_run", 2);
  options.config.data = {pictures};
  train_ar(options);
  const auto words = [&] {
    std::ifstream stream(options.out / "final/processor/tokenizer.json");
    return std::string(std::istreambuf_iterator<char>(stream), {});
  };
  const std::string learned = words();
  options.config.steps = 4;
  train_ar(options);  // the same words: it goes on
  for (const auto& entry : fs::directory_iterator(pictures)) {
    if (entry.path().extension() == ".txt") std::ofstream(entry.path()) << "quite another thing to be seen here";
  }
  options.config.steps = 6;
  EXPECT_THAT(message_of([&] { train_ar(options); }, ErrorKind::usage),
              HasSubstr("another vocabulary of its captions"));
  EXPECT_EQ(words(), learned);
  EXPECT_FALSE(fs::exists(options.out / "vocabulary.part"));
}

// Ids and latents of other parts mean other things.
TEST_F(StagesTest, ARunGoesOnWithItsOwnPartsAlone) {
  StageOptions vae = on_album("vae", "other_vae", 2), tokenizer = on_album("tokenizer", "other_tokenizer", 2);
  vae.config.seed = tokenizer.config.seed = 77;
  train_vae(vae);
  train_tokenizer(tokenizer);
  const auto refused = [](Train train, StageOptions options, const std::string& what) {
    train(options);
    options.config.steps += 2;
    train(options);  // the same parts: it goes on
    options.config.steps += 2;
    return [=](const std::function<void(StageOptions&)>& change) {
      StageOptions changed = options;
      change(changed);
      EXPECT_THAT(message_of([&] { train(changed); }, ErrorKind::usage), HasSubstr("another " + what));
    };
  };
  const StageOptions dit = on_album("dit", "own_parts_dit", 2), ar = on_album("ar", "own_parts_ar", 2);
  refused(train_dit, dit, "vae")([&](StageOptions& o) { o.vae = vae.out / "final"; });
  refused(train_ar, ar, "tokenizer")([&](StageOptions& o) { o.tokenizer = tokenizer.out / "final"; });
  const fs::path other = root_ / "other_checkpoint";
  assemble_checkpoint({checkpoint_, dit.out / "final", checkpoint_}, other);  // parts of a whole checkpoint, too
  refused(train_dit, adapter("dit", "own_parts_adapter", 2),
          "transformer in --init")([&](StageOptions& o) { o.init = other; });
}

TEST_F(StagesTest, BrokenPicturesAreLeftOutAndNamed) {
  const fs::path folder = album(root_ / "broken_album", 9);
  fs::resize_file(folder / "photo1004.png", 200);  // its header is whole
  StageOptions options = on_album("ar", "broken", 6);
  options.config.data = {folder};
  train_ar(options);
  std::ifstream stream(options.out / "data_report.json");
  EXPECT_THAT(nlohmann::json::parse(stream)["broken_while_training"].dump(), HasSubstr("photo1004.png"));
}

TEST_F(StagesTest, OverfitFourPictures) {
  const fs::path four = album(root_ / "four", 4);
  const auto fall = [&](const std::string& stage, Train train, int64_t steps, double rate) {
    StageOptions options = on_album(stage, stage + "_four", steps);
    options.config.data = {four};
    options.config.learning_rate = rate;
    options.config.batch = 4;
    train(options);
    const std::vector<double> losses = metrics(options.out, "loss");
    const double factor = mean_of(losses, 10) / mean_of(losses, -10);
    RecordProperty(stage + "_falls_by", std::to_string(factor));
    std::printf("%s: the loss of four pictures falls by a factor of %.2f\n", stage.c_str(), factor);
    return factor;
  };
  EXPECT_GT(fall("ar", train_ar, 150, 1e-2), 5);
  EXPECT_GT(fall("vae", train_vae, 150, 3e-3), 2);
  EXPECT_GT(fall("tokenizer", train_tokenizer, 150, 3e-3), 4);
  EXPECT_GT(fall("dit", train_dit, 200, 5e-3), 1.5);
}

TEST_F(StagesTest, GoOnFromACheckpointWithTheLossItEndedWith) {
  for (const auto& [stage, train] : {std::pair<const char*, Train>("dit", train_dit), {"ar", train_ar}}) {
    StageOptions options = on_album(stage, concat(stage, "_init"), 1);
    options.vae = options.tokenizer = "";
    options.init = checkpoint_;
    options.config.preset = "mini";  // sizes are the checkpoint's all the same
    options.config.learning_rate = 0;
    train(options);
    const double ended = metrics(root_ / stage, "held_out_loss").at(0);
    EXPECT_NEAR(metrics(options.out, "held_out_loss").at(0), ended, 0.01 * ended) << stage;  // through bfloat16
  }
  StageOptions vae = on_album("vae", "vae_init", 1);
  vae.init = root_ / "vae/final";  // a stage's own result
  vae.config.learning_rate = 0;
  train_vae(vae);
  EXPECT_NEAR(metrics(vae.out, "held_out_psnr").at(0), metrics(root_ / "vae", "held_out_psnr").at(0), 0.2);
  StageOptions tokenizer = on_album("tokenizer", "tokenizer_init", 1);
  tokenizer.init = root_ / "tokenizer/final";
  tokenizer.config.learning_rate = 0;
  train_tokenizer(tokenizer);
  EXPECT_EQ(first_difference(tokenizer.out / "final/model.safetensors", root_ / "tokenizer/final/model.safetensors"),
            "");
  // The vocabulary is the checkpoint's.
  std::ifstream ours(root_ / "ar_init/final/processor/tokenizer.json"),
      theirs(checkpoint_ / "processor/tokenizer.json");
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(ours), {}),
            std::string(std::istreambuf_iterator<char>(theirs), {}));
}

// The heads are trained, saved and gone on with, and no part of the result.
TEST_F(StagesTest, GlyphsAreAskedForTheirPlaces) {
  StageOptions straight = on_album("dit", "dit_places", 6);
  straight.config.dit.glyph_place = 0.1;
  straight.vae = straight.tokenizer = "";
  straight.init = checkpoint_;
  straight.config.dit.new_glyph_attention = true;
  train_dit(straight);
  StageOptions broken = straight;
  broken.out = root_ / "dit_places_broken";
  broken.config.save_every = 4;
  train_dit(broken);
  fs::remove_all(broken.out / "state" / "step-00000006");
  fs::remove_all(broken.out / "final");
  train_dit(broken);
  EXPECT_EQ(first_difference(straight.out / "final/text_encoder/model.safetensors",
                             broken.out / "final/text_encoder/model.safetensors"),
            "");
  const SafetensorsFile result = SafetensorsFile::open(straight.out / "final/text_encoder/model.safetensors");
  for (const TensorInfo& info : result.tensors()) EXPECT_EQ(info.name.find("glyph_places"), std::string::npos);

  StageOptions lora = adapter("dit", "dit_places_lora", 1);
  lora.config.dit.glyph_place = 0.1;
  EXPECT_THAT(message_of([&] { train_dit(lora); }, ErrorKind::usage), HasSubstr("adapter"));
  StageOptions frozen = straight;
  frozen.out = root_ / "dit_places_frozen";
  frozen.config.dit.train_text_encoder = false;
  EXPECT_THAT(message_of([&] { train_dit(frozen); }, ErrorKind::usage), HasSubstr("does not learn"));
  StageOptions anew = on_album("dit", "dit_anew", 1);
  anew.config.dit.new_glyph_attention = true;
  EXPECT_THAT(message_of([&] { train_dit(anew); }, ErrorKind::usage), HasSubstr("there is none"));
}

TEST_F(StagesTest, WhatIsMissingOfACheckpointIsNamed) {
  StageOptions options = on_album("dit", "dit_missing", 1);
  options.init = root_ / "nowhere";
  EXPECT_THAT(message_of([&] { train_dit(options); }, ErrorKind::checkpoint), HasSubstr("nowhere"));
  options.init = root_ / "ar/final";
  EXPECT_THAT(message_of([&] { train_dit(options); }, ErrorKind::checkpoint), HasSubstr("ar/final/text_encoder"));
  options.init = "";
  options.vae = "";
  EXPECT_THAT(message_of([&] { train_dit(options); }, ErrorKind::usage), HasSubstr("--vae DIR"));
  options.config.lora.rank = 2;
  EXPECT_THAT(message_of([&] { train_dit(options); }, ErrorKind::usage),
              AllOf(HasSubstr("lora.rank"), HasSubstr("--init")));
  StageOptions other = on_album("ar", "ar_other", 1);
  other.config.preset = "mini";
  EXPECT_THAT(message_of([&] { train_ar(other); }, ErrorKind::usage), HasSubstr("64 codes"));
  StageOptions targets = adapter("ar", "ar_targets", 1);
  targets.config.lora.targets = {"no_such_proj"};
  EXPECT_THAT(message_of([&] { train_ar(targets); }, ErrorKind::usage), HasSubstr("no_such_proj"));
}

TEST_F(StagesTest, AdaptersLowerTheLossAndChangePictures) {
  const std::vector<uint8_t> plain = drawn({});
  for (const auto& [stage, train] : {std::pair<const char*, Train>("dit", train_dit), {"ar", train_ar}}) {
    StageOptions none = adapter(stage, concat(stage, "_lora_none"), 1), options = none;
    none.config.learning_rate = 0;
    train(none);
    options.out = root_ / concat(stage, "_lora");
    options.config.steps = 60;
    options.config.batch = 4;
    if (std::string(stage) == "ar") {  // a layer so small learns little through its attention alone
      options.config.lora.targets = {"self_attn.q_proj", "v_proj", "o_proj", "gate_up_proj", "down_proj"};
      options.config.learning_rate = 2e-2;
      options.config.data = {album(root_ / "few", 3)};
    }
    train(options);
    const std::vector<double> losses = metrics(options.out, "loss");
    std::printf("%s: an adapter lowers the loss from %.4f to %.4f\n", stage, mean_of(losses, 10), mean_of(losses, -10));
    if (std::string(stage) == "ar") {
      EXPECT_LT(mean_of(losses, -10), 0.95 * mean_of(losses, 10));
    } else {  // its losses have other noise at each step; the held-out one has the same
      EXPECT_LT(metrics(options.out, "held_out_loss").at(0), metrics(none.out, "held_out_loss").at(0));
    }
    EXPECT_FALSE(fs::exists(options.out / "final/transformer"));
    const fs::path file = options.out / "final/adapter.safetensors";
    EXPECT_TRUE(drawn({{file, 1}}) != plain) << stage;
    EXPECT_TRUE(drawn({{file, 0}}) == plain) << stage;
    // Goes on bit for bit.
    StageOptions broken = options;
    broken.out = root_ / concat(stage, "_lora_broken");
    broken.config.save_every = 25;
    train(broken);
    fs::remove_all(broken.out / "state" / "step-00000060");
    fs::remove_all(broken.out / "final");
    train(broken);
    EXPECT_EQ(first_difference(file, broken.out / "final/adapter.safetensors"), "") << stage;
    // Its arithmetic and the checkpoint's weights in bfloat16, and blocks computed again.
    StageOptions small = adapter(stage, concat(stage, "_lora_bf16"), 4);
    small.config.precision = Precision::bfloat16;
    small.config.recompute = true;
    train(small);
    EXPECT_EQ(metrics(small.out, "loss").size(), 4U);
    const double whole = metrics(none.out, "loss")[0];  // of the same batch in float32
    EXPECT_NEAR(metrics(small.out, "loss")[0], whole, 0.03 * whole) << stage;
  }
}

}  // namespace
}  // namespace glmimage::train
