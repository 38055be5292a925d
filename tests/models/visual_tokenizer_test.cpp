#include "models/visual_tokenizer/visual_tokenizer.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/grid_sampler.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <fstream>

#include "core/error.h"
#include "core/rng.h"
#include "support/goldens.h"
#include "support/gradients.h"

namespace glmimage {
namespace {

using ::testing::HasSubstr;

constexpr double kTolerance = 1e-4;  // relative, float32

std::filesystem::path folder_of(const std::string& name) {
  return test::golden(name + "/checkpoint/vision_language_encoder");
}

nlohmann::json config_json() { return JsonObject::open(folder_of("tiny_a") / "config.json").value(); }
nlohmann::json processor_json() {
  return JsonObject::open(test::golden("tiny_a/checkpoint/processor/preprocessor_config.json")).value();
}

// The message with which `json` is refused; empty when it is not.
template <typename Config>
std::string refusal(const nlohmann::json& json) {
  try {
    Config::from_json(JsonObject("config.json", "", json));
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::checkpoint);
    return e.what();
  }
  return "";
}

PreprocessConfig limits(int64_t min_pixels, int64_t max_pixels) {
  return {.min_pixels = min_pixels, .max_pixels = max_pixels};
}

class TokenizerGolden : public ::testing::TestWithParam<const char*> {
 protected:
  VisualTokenizer tokenizer = VisualTokenizer::open(folder_of(GetParam()), {.dtype = at::kFloat});
  SafetensorsFile golden = SafetensorsFile::open(test::golden(std::string(GetParam()) + "/modules.safetensors"));
  at::Tensor pixels = golden.tensor("visual.pixel_values");  // two pictures, 3 x 2 and 1 x 5 patches
  at::Tensor first = pixels.narrow(0, 0, 6), second = pixels.narrow(0, 6, 5);
};

INSTANTIATE_TEST_SUITE_P(Checkpoints, TokenizerGolden, ::testing::Values("tiny_a", "tiny_b", "tiny_c"));

TEST_P(TokenizerGolden, FeaturesAreTheReferences) {
  EXPECT_LT(test::relative_error(tokenizer.tower.embed(pixels), golden.tensor("visual.patch_embed.out")), kTolerance);
  const at::Tensor embedded = at::cat({tokenizer.tower.embed(first) + tokenizer.tower.positions({3, 2}),
                                       tokenizer.tower.embed(second) + tokenizer.tower.positions({1, 5})});
  EXPECT_LT(test::relative_error(embedded, golden.tensor("visual.embeddings.out")), kTolerance);
  const at::Tensor block = tokenizer.tower.blocks[0](embedded.narrow(0, 0, 6).unsqueeze(0));
  EXPECT_LT(test::relative_error(block.squeeze(0), golden.tensor("visual.block.0.out").narrow(0, 0, 6)), kTolerance);
  const at::Tensor features = at::cat({tokenizer.features(first, {3, 2}), tokenizer.features(second, {1, 5})}, 1);
  EXPECT_LT(test::relative_error(features.squeeze(0), golden.tensor("visual.features")), kTolerance);
}

TEST_P(TokenizerGolden, IdsAreTheReferences) {
  const at::Tensor features = golden.tensor("visual.features");
  EXPECT_LT(test::relative_error(tokenizer.quantizer.project(features), golden.tensor("visual.z")), kTolerance);
  EXPECT_TRUE(tokenizer.quantizer.ids(features).equal(golden.tensor("visual.ids")));
  const VisualTokens tokens = tokenizer.encode({first, {3, 2}});
  EXPECT_EQ(tokens.grid, (Grid{3, 2}));
  EXPECT_TRUE(tokens.ids.equal(golden.tensor("visual.ids").narrow(0, 0, 6).unsqueeze(0)));
}

TEST_P(TokenizerGolden, GradientsAgree) {
  if (!golden.find("grad.visual.projection")) GTEST_SKIP() << "recorded for float32 checkpoints only";
  ParameterList list;
  tokenizer.list(list);
  const auto leaves = test::record_gradients(list);
  const at::Tensor features =
      at::cat({tokenizer.features(first, {3, 2}), tokenizer.features(second, {1, 5})}, 1).squeeze(0);
  (features * golden.tensor("grad.visual.projection")).sum().backward();
  EXPECT_EQ(test::expect_gradients(leaves, golden, "grad.visual.", kTolerance), 5);
}

TEST_P(TokenizerGolden, ConfigurationRoundTrips) {
  const nlohmann::json published = JsonObject::open(folder_of(GetParam()) / "config.json").value();
  EXPECT_EQ(tokenizer.config.vision.to_json(), published.at("vision_config"));
  EXPECT_EQ(tokenizer.config.vq.to_json(), published.at("vq_config"));
  const auto processor = test::golden(std::string(GetParam()) + "/checkpoint/processor");
  EXPECT_EQ(PreprocessConfig::open(processor).to_json(),
            JsonObject::open(processor / "preprocessor_config.json").value());
}

TEST_P(TokenizerGolden, SavedWeightsLoadAgain) {
  const auto folder = test::scratch_folder();
  ParameterList list;
  tokenizer.list(list);
  write_safetensors(folder / "model.safetensors", named_tensors(list));
  std::ofstream(folder / "config.json") << tokenizer.config.to_json();
  const VisualTokenizer again = VisualTokenizer::open(folder, {});
  EXPECT_TRUE(again.features(first, {3, 2}).equal(tokenizer.features(first, {3, 2})));
  EXPECT_TRUE(again.quantizer.post_quant_conv.weight.equal(tokenizer.quantizer.post_quant_conv.weight));
}

// Pillow's and the processor's own numbers for golden pictures.
TEST_P(TokenizerGolden, PreprocessingIsExact) {
  const auto file = SafetensorsFile::open(test::golden(std::string(GetParam()) + "/preprocess.safetensors"));
  const PreprocessConfig config =
      PreprocessConfig::open(test::golden(std::string(GetParam()) + "/checkpoint/processor"));
  for (const std::string name : {"square96", "odd101x77"}) {
    const Patches patches = preprocess(load_image(test::golden("pictures/" + name + ".png")), config);
    const at::Tensor grid = file.tensor(name + ".grid");
    EXPECT_EQ(patches.grid, (Grid{grid[0].item<int64_t>(), grid[1].item<int64_t>()})) << name;
    if (file.find(name + ".pixel_values")) {
      EXPECT_TRUE(patches.values.equal(file.tensor(name + ".pixel_values"))) << name;
    } else {
      const at::Tensor expected = file.tensor(name + ".pixel_values_97");  // every 97th row
      EXPECT_TRUE(patches.values.slice(0, 0, patches.values.size(0), 97).equal(expected)) << name;
    }
  }
}

TEST(VisualTokenizer, BatchEqualsSinglePictures) {
  const VisualTokenizer tokenizer = VisualTokenizer::open(folder_of("tiny_b"), {});
  const at::Tensor patches = at::randn({3, 8, 768}, make_generator(1), at::kFloat);
  const at::Tensor features = tokenizer.features(patches, {2, 4}), ids = tokenizer.encode_batch(patches, {2, 4});
  EXPECT_EQ(ids.sizes(), at::IntArrayRef({3, 8}));
  for (int64_t i = 0; i < 3; ++i) {
    EXPECT_LT(test::relative_error(features[i], tokenizer.features(patches[i], {2, 4})[0]), kTolerance);
    EXPECT_TRUE(ids[i].equal(tokenizer.encode({patches[i], {2, 4}}).ids[0]));
  }
}

TEST(VisualTokenizer, RefusesPatchesThatDoNotFitTheGrid) {
  const VisualTokenizer tokenizer = VisualTokenizer::open(folder_of("tiny_a"), {});
  EXPECT_THROW(tokenizer.features(at::randn({6, 768}), {2, 2}), Error);
  EXPECT_THROW(tokenizer.features(at::randn({6, 767}), {3, 2}), Error);
  EXPECT_THROW(tokenizer.features(at::randn({768}), {1, 1}), Error);
}

TEST(VisualTokenizer, RunsInItsStoredTypeWithFloat32Distances) {
  const VisualTokenizer tokenizer = VisualTokenizer::open(folder_of("tiny_c"), {});  // stored in bfloat16
  const at::Tensor patches = at::randn({1, 6, 768}, make_generator(1), at::kFloat);
  const at::Tensor features = tokenizer.features(patches, {3, 2});
  EXPECT_EQ(features.scalar_type(), at::kBFloat16);
  const Quantized quantized = tokenizer.quantizer.quantize(tokenizer.quantizer.project(features));
  EXPECT_EQ(quantized.z.scalar_type(), at::kFloat);
  EXPECT_EQ(quantized.q.scalar_type(), at::kFloat);
}

// Every grid is stretched over the whole table exactly as grid_sample does it.
TEST(VisionTower, PositionsAreGridSample) {
  VisionConfig config = VisualTokenizerConfig::from_json(JsonObject("config.json", "", config_json())).vision;
  config.image_size = 7 * config.patch_size;
  VisionTower tower(config);
  tower.position_embedding.weight = at::randn({49, config.hidden_size}, make_generator(3), at::kFloat);
  const at::Tensor table = tower.position_embedding.weight.view({1, 7, 7, -1}).permute({0, 3, 1, 2});
  for (const Grid grid : {Grid{1, 1}, Grid{2, 3}, Grid{7, 7}, Grid{5, 16}, Grid{31, 8}}) {
    const at::Tensor y = (at::linspace(0, grid.height - 1, grid.height) + 0.5) / grid.height * 2 - 1;
    const at::Tensor x = (at::linspace(0, grid.width - 1, grid.width) + 0.5) / grid.width * 2 - 1;
    const at::Tensor where =
        at::stack({x.unsqueeze(0).expand({grid.height, grid.width}), y.unsqueeze(1).expand({grid.height, grid.width})},
                  -1)
            .unsqueeze(0);
    const at::Tensor expected = at::grid_sampler(table, where, /*bilinear*/ 0, /*border*/ 1, false)[0].flatten(1).t();
    EXPECT_LT(test::relative_error(tower.positions(grid), expected), 1e-6) << grid.height << " x " << grid.width;
  }
  EXPECT_LT(test::relative_error(tower.positions({7, 7}), tower.position_embedding.weight), 1e-5);
}

TEST(Quantizer, TakesTheFirstOfEqualCodesAndExposesBothSides) {
  Quantizer quantizer(VqConfig{.codes = 2050, .embed_dim = 6, .latent_channels = 4});
  ParameterList list;
  quantizer.list(list, "vq");
  init_parameters(list, make_generator(1));
  const at::Tensor east = at::zeros({6});
  east[0] = 1;
  quantizer.codebook.weight[7] = east;
  quantizer.codebook.weight[2000] = 2 * east;  // the same direction
  const at::Tensor ids = at::randint(0, 2000, {1500}, make_generator(2), at::kLong);
  at::Tensor z = (quantizer.codebook.weight.index_select(0, ids) * 2.5).view({2, 750, 6});
  z[0][3] = 3 * east;
  const Quantized out = quantizer.quantize(z);  // more rows than one table of distances holds
  EXPECT_EQ(out.ids[0][3].item<int64_t>(), 7);
  EXPECT_TRUE(out.ids.view(-1).slice(0, 4, 1500).equal(ids.slice(0, 4, 1500)));
  EXPECT_LT(test::relative_error(out.q, out.z), 1e-6);
  EXPECT_LT((out.z.norm(2, {-1}) - 1).abs().max().item<double>(), 1e-6);
}

TEST(Quantizer, BothSidesCarryGradients) {
  Quantizer quantizer(VqConfig{.codes = 9, .embed_dim = 6, .latent_channels = 4});
  ParameterList list;
  quantizer.list(list, "vq");
  init_parameters(list, make_generator(1));
  for (const Parameter& p : list) p.tensor->requires_grad_(true);
  const at::Tensor features = at::randn({2, 5, 4}, make_generator(2), at::kFloat).requires_grad_(true);
  const Quantized out = quantizer.quantize(quantizer.project(features));
  ((out.q.detach() - out.z).square().mean() + 0.25 * (out.q - out.z.detach()).square().mean()).backward();
  EXPECT_GT(features.grad().abs().sum().item<double>(), 0);
  EXPECT_GT(quantizer.codebook.weight.grad().abs().sum().item<double>(), 0);
  EXPECT_FALSE(quantizer.post_quant_conv.weight.grad().defined());
}

TEST(Quantizer, AZeroVectorHasAnId) {
  Quantizer quantizer(VqConfig{.codes = 5, .embed_dim = 3, .latent_channels = 3});
  ParameterList list;
  quantizer.list(list, "vq");
  init_parameters(list, make_generator(1));
  const Quantized out = quantizer.quantize(at::zeros({2, 3}));
  EXPECT_EQ(out.z.abs().max().item<float>(), 0);
  EXPECT_GE(out.ids.min().item<int64_t>(), 0);
}

TEST(SmartResize, AgreesWithTheReferenceInEveryCase) {
  std::ifstream stream(test::golden("smart_resize.json"));
  const nlohmann::json cases = nlohmann::json::parse(stream);
  ASSERT_GT(cases.size(), 100u);
  for (const auto& c : cases) {
    PreprocessConfig config = limits(c.at("min_pixels"), c.at("max_pixels"));
    config.patch_size = c.at("factor");
    const PixelSize picture = {c.at("height"), c.at("width")};
    if (c.contains("error")) {
      try {
        smart_resize(picture, config);
        ADD_FAILURE() << c;
      } catch (const Error& e) {
        EXPECT_EQ(e.kind(), ErrorKind::usage);
        EXPECT_THAT(e.what(), HasSubstr(concat(picture.width, " x ", picture.height)));
      }
    } else {
      EXPECT_EQ(smart_resize(picture, config), (PixelSize{c.at("result")[0], c.at("result")[1]})) << c;
    }
  }
}

TEST(Preprocess, PatchesRunRowByRowAndChannelFirst) {
  Image image{.width = 48, .height = 32, .pixels = std::vector<uint8_t>(48 * 32 * 3)};
  image.pixels[3 * (17 * 48 + 35) + 2] = 255;  // row 17, column 35, blue: patch (1, 2), inside it (1, 3)
  const Patches patches = cut_patches(image, limits(1024, 4194304));
  EXPECT_EQ(patches.grid, (Grid{2, 3}));
  EXPECT_EQ(patches.values.sizes(), at::IntArrayRef({6, 768}));
  EXPECT_EQ(patches.values[5][2 * 256 + 1 * 16 + 3].item<float>(), 1.0f);
  EXPECT_EQ(patches.values.sum().item<float>(), 2.0f - 6 * 768);
  image.width = 47;
  EXPECT_THROW(cut_patches(image, limits(1024, 4194304)), Error);
}

TEST(VisualTokenizerConfig, RefusesToGuessAndWhatItDoesNotKnow) {
  for (const char* field : {"depth", "hidden_size", "num_heads", "intermediate_size", "patch_size", "image_size"}) {
    nlohmann::json json = config_json();
    json["vision_config"].erase(field);
    EXPECT_THAT(refusal<VisualTokenizerConfig>(json), HasSubstr(concat("vision_config.", field)));
  }
  for (const char* field : {"num_embeddings", "embed_dim", "latent_channels"}) {
    nlohmann::json json = config_json();
    json["vq_config"].erase(field);
    EXPECT_THAT(refusal<VisualTokenizerConfig>(json), HasSubstr(concat("vq_config.", field)));
  }
  const auto with = [](const char* part, const char* field, nlohmann::json value) {
    nlohmann::json json = config_json();
    json[part][field] = std::move(value);
    return refusal<VisualTokenizerConfig>(json);
  };
  EXPECT_THAT(with("vision_config", "hidden_act", "gelu_tanh"), HasSubstr("gelu_tanh"));
  EXPECT_THAT(with("vision_config", "spatial_merge_size", 2), HasSubstr("spatial_merge_size"));
  EXPECT_THAT(with("vision_config", "num_heads", 5), HasSubstr("num_heads"));
  EXPECT_THAT(with("vision_config", "model_type", "glm4v_vision"), HasSubstr("glm4v_vision"));
  EXPECT_THAT(with("vq_config", "latent_channels", 31), HasSubstr("hidden_size"));
}

TEST(PreprocessConfig, RefusesToGuessAndWhatItDoesNotKnow) {
  for (const char* field : {"min_pixels", "max_pixels", "patch_size", "merge_size", "temporal_patch_size", "resample",
                            "image_mean", "image_std"}) {
    nlohmann::json json = processor_json();
    json.erase(field);
    EXPECT_THAT(refusal<PreprocessConfig>(json), HasSubstr(field));
  }
  const auto with = [](const char* field, nlohmann::json value) {
    nlohmann::json json = processor_json();
    json[field] = std::move(value);
    return refusal<PreprocessConfig>(json);
  };
  EXPECT_THAT(with("merge_size", 2), HasSubstr("merge_size"));
  EXPECT_THAT(with("do_normalize", false), HasSubstr("do_normalize"));
  EXPECT_THAT(with("resample", 2), HasSubstr("resample"));
  EXPECT_THAT(with("min_pixels", 5000000), HasSubstr("max_pixels"));
  EXPECT_THAT(with("image_std", {0.5, 0.0, 0.5}), HasSubstr("image_std"));
  EXPECT_THAT(with("image_processor_type", "CLIPImageProcessor"), HasSubstr("CLIPImageProcessor"));
}

TEST(PreprocessConfig, ReadsTheLimitsUnderSize) {
  nlohmann::json json = processor_json();
  json.erase("min_pixels");
  json.erase("max_pixels");
  json["size"] = {{"shortest_edge", 1000}, {"longest_edge", 5000}};
  const auto config = PreprocessConfig::from_json(JsonObject("preprocessor_config.json", "", json));
  EXPECT_EQ(config.min_side(), 32);
  EXPECT_EQ(config.max_side(), 71);
}

}  // namespace
}  // namespace glmimage
