#include "pipeline/references.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/resize.h"
#include "support/goldens.h"

namespace glmimage {
namespace {

using ::testing::HasSubstr;

constexpr double kTolerance = 1e-4;  // relative, float32

// The reference pipeline hands its VAE channels_last pictures, whose float32 group norms are summed naively: at 512
// pixels its latents are 3.4e-3 away from the exact ones (computed in float64), and its runs with 1 and 2 threads
// differ by 3.8e-3. We encode pictures in the same layout, so with the same threads the same rounding comes out; the
// exact values only bound it.
constexpr double kReferenceNoise = 5e-3;

PreprocessConfig limits(int64_t min_pixels, int64_t max_pixels) {
  return {.min_pixels = min_pixels, .max_pixels = max_pixels};
}

const PreprocessConfig kPublished = limits(512 * 512, 2048 * 2048);

// A picture whose every pixel tells its place.
Image ramp(int64_t height, int64_t width) {
  Image image{.width = width, .height = height, .pixels = {}};
  image.pixels.reserve(static_cast<size_t>(3 * height * width));
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      image.pixels.push_back(static_cast<uint8_t>(x * 255 / width));
      image.pixels.push_back(static_cast<uint8_t>(y * 255 / height));
      image.pixels.push_back(static_cast<uint8_t>((x / 8 + y / 8) % 2 * 255));
    }
  }
  return image;
}

void expect_agreement(const ReferencePixels& reference) {
  const Grid grid = reference.patches.grid;
  EXPECT_EQ(reference.pixels.size(2), 32 * grid.height);
  EXPECT_EQ(reference.pixels.size(3), 32 * grid.width);
  EXPECT_EQ(reference.patches.values.size(0), grid.count());
}

class ReferenceGolden : public ::testing::TestWithParam<const char*> {
 protected:
  std::filesystem::path root = test::golden(GetParam());
  VisualTokenizer tokenizer = VisualTokenizer::open(root / "checkpoint/vision_language_encoder", {.dtype = at::kFloat});
  Vae vae = Vae::open(root / "checkpoint/vae", {.dtype = at::kFloat});
  Vae exact_vae = Vae::open(root / "checkpoint/vae", {.dtype = at::kDouble});
  PreprocessConfig config = PreprocessConfig::open(root / "checkpoint/processor");
};

INSTANTIATE_TEST_SUITE_P(Checkpoints, ReferenceGolden, ::testing::Values("tiny_a", "tiny_b", "tiny_c"));

// Tokens and latents of every reference picture of every recorded request.
TEST_P(ReferenceGolden, AreThoseOfTheReferencePipeline) {
  // The reference's float32 sums depend on the number of threads; the goldens were made with one.
  at::set_num_threads(1);
  std::ifstream stream(root / "manifest.json");
  int compared = 0;
  const nlohmann::json manifest = nlohmann::json::parse(stream);
  for (const auto& request : manifest.at("cases")) {
    const auto trace = SafetensorsFile::open(root / request.at("file").get<std::string>());
    for (size_t i = 0; i < request.at("pictures").size(); ++i) {
      const Image picture = load_image(test::golden(request.at("pictures")[i].get<std::string>()));
      const Reference reference = encode_reference(prepare_reference(picture, config), tokenizer, vae);
      const std::string name = "references." + std::to_string(i);
      const at::Tensor grid = trace.tensor(name + ".grid");
      EXPECT_EQ(reference.tokens.grid, (Grid{grid[0].item<int64_t>(), grid[1].item<int64_t>()}));
      EXPECT_TRUE(reference.tokens.ids.equal(trace.tensor(name + ".token_ids"))) << request.at("name") << " " << name;
      EXPECT_LT(test::relative_error(reference.latents, trace.tensor(name + ".latents")), kTolerance)
          << request.at("name") << " " << name;
      const at::Tensor exact = encode_latents(prepare_reference(picture, config).pixels, exact_vae);
      EXPECT_LT(test::relative_error(reference.latents, exact), kReferenceNoise) << request.at("name") << " " << name;
      EXPECT_EQ(reference.height, picture.height);
      EXPECT_EQ(reference.width, picture.width);
      ++compared;
    }
  }
  EXPECT_GE(compared, 1);
}

// A picture with odd sides that the reference takes: its two views are resized apart, as there.
TEST_P(ReferenceGolden, OddPicturesGoTheReferencesWay) {
  const auto file = SafetensorsFile::open(root / "preprocess.safetensors");
  const Image picture = load_image(test::golden("pictures/odd101x77.png"));
  const at::Tensor expected = file.tensor("odd101x77.vae_pixels");  // (H, W, 3) uint8
  if (!fits_as_it_is({picture.height, picture.width}, config)) GTEST_SKIP() << "the reference fails on it";
  const ReferencePixels reference = prepare_reference(picture, config);
  const at::Tensor bytes = ((reference.pixels[0] + 1) / 2 * 255).round().to(at::kByte).permute({1, 2, 0});
  EXPECT_TRUE(bytes.equal(expected));
  EXPECT_TRUE(reference.patches.values.equal(file.tensor("odd101x77.pixel_values")));
}

TEST(References, SizesTheReferenceFailsAtAreKnown) {
  for (const PixelSize size : {PixelSize{528, 512},
                               {1008, 1008},
                               {400, 400},
                               {500, 500},
                               {2100, 1024},
                               {544, 528},
                               {33, 71},
                               {1, 1},
                               {16, 16},
                               {4000, 200},
                               {256, 256},
                               {3000, 2000},
                               {2080, 2080}}) {
    EXPECT_FALSE(fits_as_it_is(size, kPublished)) << size.height << " x " << size.width;
  }
  for (const PixelSize size :
       {PixelSize{512, 512}, {1024, 1024}, {2048, 1024}, {2048, 512}, {640, 512}, {2048, 2048}}) {
    EXPECT_TRUE(fits_as_it_is(size, kPublished)) << size.height << " x " << size.width;
  }
}

TEST(References, NearestSizes) {
  const auto fit = [](int64_t height, int64_t width) { return fit_reference({height, width}, kPublished).size; };
  EXPECT_EQ(fit(1008, 1008), (PixelSize{1024, 1024}));
  EXPECT_EQ(fit(400, 400), (PixelSize{512, 512}));
  EXPECT_EQ(fit(2100, 1024), (PixelSize{2048, 992}));
  EXPECT_EQ(fit(1, 1), (PixelSize{512, 512}));
  EXPECT_EQ(fit(4000, 4000), (PixelSize{2048, 2048}));
  EXPECT_EQ(fit(4000, 200), (PixelSize{2048, 512}));
  EXPECT_EQ(fit_reference({4000, 200}, kPublished).crop, (PixelSize{800, 200}));
  EXPECT_EQ(fit(200, 4000), (PixelSize{512, 2048}));
  EXPECT_EQ(fit(600, 800), (PixelSize{608, 800}));
  EXPECT_EQ(fit(1, 10000), (PixelSize{512, 2048}));
}

// Whatever the preprocessor allows, every picture ends at a size both encoders agree on.
TEST(References, EverySizeFitsUnderEveryConfiguration) {
  uint32_t state = 1;
  const auto draw = [&](uint32_t below) {
    return static_cast<int64_t>((state = state * 1664525u + 1013904223u) >> 8) % below;
  };
  int tried = 0;
  for (int trial = 0; trial < 400; ++trial) {
    const int64_t low = 1 + draw(600), high = low + draw(2500);
    const PreprocessConfig config = trial == 0 ? kPublished : limits(low * low + draw(40), high * high + draw(40) + 40);
    const int64_t first = (config.min_side() + 31) / 32 * 32, last = config.max_side() / 32 * 32;
    if (first > last) {
      EXPECT_THROW(fit_reference({64, 64}, config), Error);
      continue;
    }
    for (int i = 0; i < 200; ++i) {
      const int64_t scale = 1 + draw(3) * 40;
      const PixelSize picture = {1 + draw(static_cast<uint32_t>(100 * scale)),
                                 1 + draw(static_cast<uint32_t>(100 * scale))};
      const auto [crop, size] = fit_reference(picture, config);
      ASSERT_TRUE(fits_as_it_is(size, config))
          << low << ".." << high << ": " << picture.height << " x " << picture.width;
      ASSERT_TRUE(size.height % 32 == 0 && size.width % 32 == 0);
      ASSERT_GE(std::min(size.height, size.width), config.min_side());
      ASSERT_LE(std::max(size.height, size.width), config.max_side());
      ASSERT_TRUE(crop.height >= 1 && crop.height <= picture.height && crop.width >= 1 && crop.width <= picture.width);
      ++tried;
    }
  }
  EXPECT_GT(tried, 50000);
}

// Every multiple of 32 between the limits is a size of its own: it is never resized.
TEST(References, LegalSizesStayAsTheyAre) {
  for (int64_t h = 512; h <= 2048; h += 32) {
    for (int64_t w = std::max<int64_t>(512, (h + 3) / 4); w <= std::min<int64_t>(2048, 4 * h); w += 32) {
      ASSERT_TRUE(fits_as_it_is({h, w}, kPublished)) << h << " x " << w;
      ASSERT_EQ(fit_reference({h, w}, kPublished).size, (PixelSize{h, w}));
    }
  }
}

TEST(References, EveryPictureBecomesTwoViewsThatAgree) {
  const PreprocessConfig small = limits(64 * 64, 256 * 256);
  for (const auto& [h, w] : std::vector<std::pair<int64_t, int64_t>>{{33, 71},
                                                                     {400, 400},
                                                                     {500, 500},
                                                                     {1008, 1008},
                                                                     {2100, 1024},
                                                                     {528, 512},
                                                                     {1, 1},
                                                                     {16, 16},
                                                                     {4000, 200},
                                                                     {1, 300}}) {
    expect_agreement(prepare_reference(ramp(h, w), small));
  }
  for (const auto& [h, w] : std::vector<std::pair<int64_t, int64_t>>{{33, 71}, {1, 1}, {528, 512}, {4000, 200}}) {
    expect_agreement(prepare_reference(ramp(h, w), kPublished));
  }
}

// 71 x 33 pixels are resized once; both views then come from that one picture.
TEST(References, ResizesOnceAndCropsTheMiddle) {
  const PreprocessConfig config = limits(64 * 64, 256 * 256);
  const ReferencePixels reference = prepare_reference(ramp(33, 71), config);
  const Image once = resize(ramp(33, 71), 128, 64, Filter::lanczos);
  EXPECT_TRUE(reference.patches.values.equal(preprocess(once, config).values));
  EXPECT_TRUE(((reference.pixels[0] + 1) / 2 * 255).round().to(at::kByte).permute({1, 2, 0}).equal(to_tensor(once)));

  const ReferencePixels cropped = prepare_reference(ramp(100, 1000), config);  // the middle 400 columns of 1000
  EXPECT_EQ(cropped.pixels.sizes(), at::IntArrayRef({1, 3, 64, 256}));
  EXPECT_NEAR(cropped.pixels[0][0].select(1, 2).mean().item<double>(), -0.4, 0.03);
  EXPECT_NEAR(cropped.pixels[0][0].select(1, 253).mean().item<double>(), 0.4, 0.03);
}

TEST(References, PixelsRunFromMinusOneToOne) {
  Image white{.width = 64, .height = 64, .pixels = std::vector<uint8_t>(3 * 64 * 64, 255)};
  const PreprocessConfig config = limits(64 * 64, 256 * 256);
  EXPECT_EQ(prepare_reference(white, config).pixels.min().item<float>(), 1.0f);
  white.pixels.assign(white.pixels.size(), 0);
  EXPECT_EQ(prepare_reference(white, config).pixels.max().item<float>(), -1.0f);
}

TEST(References, LatentsAreFloat32WhateverTheVaesType) {
  const Vae vae = Vae::open(test::golden("tiny_c/checkpoint/vae"), {});  // stored in bfloat16
  const ReferencePixels pixels = prepare_reference(ramp(64, 96), limits(64 * 64, 256 * 256));
  const at::Tensor latents = encode_latents(pixels.pixels, vae);
  EXPECT_EQ(latents.scalar_type(), at::kFloat);
  EXPECT_EQ(latents.sizes(), at::IntArrayRef({1, vae.config.latent_channels, 8, 12}));
}

TEST(References, RefusesWhatCannotWork) {
  EXPECT_THROW(prepare_reference(Image{}, kPublished), Error);
  PreprocessConfig patches_of_14 = kPublished;
  patches_of_14.patch_size = 14;
  for (const PreprocessConfig& config : {limits(40 * 40, 60 * 60), patches_of_14}) {
    try {
      prepare_reference(ramp(50, 50), config);
      ADD_FAILURE();
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::checkpoint);
      EXPECT_THAT(e.what(), HasSubstr("preprocessor_config.json"));
    }
  }
}

}  // namespace
}  // namespace glmimage
