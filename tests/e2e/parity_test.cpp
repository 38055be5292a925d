// The whole way from words to a PNG file, held to the reference stage by stage: same ids, same tensors, same picture.
#include <ATen/core/Tensor.h>
#include <ATen/ops/equal.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <map>

#include "core/error.h"
#include "core/image.h"
#include "e2e/golden_case.h"

namespace glmimage {
namespace {

using test::GoldenCase;

constexpr double kPictureDecibels = 50;

// GLM_IMAGE_TEST_DEVICE=cuda runs the suite on an accelerator, in float32 too; its sums are in other orders.
std::string device() {
  const char* chosen = std::getenv("GLM_IMAGE_TEST_DEVICE");
  return chosen && *chosen ? chosen : "cpu";
}
double tolerance() { return device() == "cpu" ? 1e-4 : 1e-3; }

class Parity : public ::testing::TestWithParam<GoldenCase> {
 protected:
  // What the suite found at worst, printed at its end.
  static inline std::map<std::string, double> largest;
  static inline double lowest_psnr = std::numeric_limits<double>::infinity();
  static void TearDownTestSuite() {
    for (const auto& [name, error] : largest) std::printf("largest error of %s: %.2e\n", name.c_str(), error);
    std::printf("lowest agreement of pictures: %.1f dB\n", lowest_psnr);
  }

  static void expect_close(const std::string& kind, const at::Tensor& actual, const at::Tensor& expected,
                           double tolerated = tolerance()) {
    const double error = test::relative_error(actual.to(at::kFloat), expected.to(at::kFloat));
    largest[kind] = std::max(largest[kind], error);
    EXPECT_LE(error, tolerated) << kind;
  }
};

void expect_same(const std::string& name, const at::Tensor& actual, const at::Tensor& expected) {
  ASSERT_EQ(actual.sizes(), expected.sizes()) << name;
  EXPECT_TRUE(at::equal(actual, expected)) << name;
}

TEST(ParityCases, AreAllThere) { EXPECT_GE(test::golden_cases().size(), 27u); }

TEST_P(Parity, EveryStageIsTheReferences) {
  const auto folder = test::scratch_folder();
  const auto picture = folder / "picture.png", trace_file = folder / "trace.safetensors";
  std::vector<std::string> arguments = GetParam().arguments(picture, trace_file);
  for (const std::string& each : {std::string("--device"), device()}) arguments.push_back(each);
  if (device() != "cpu") arguments.insert(arguments.end(), {"--dtype", "float32"});
  const auto result = test::run_process(test::glm_image(arguments));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const SafetensorsFile trace = SafetensorsFile::open(trace_file), expected = GetParam().tensors();

  expect_same("ar.input_ids", trace.tensor("ar.input_ids"), expected.tensor("ar.input_ids"));
  const at::Tensor ids = trace.tensor("ar.output_ids"), all_ids = expected.tensor("ar.output_ids");  // (1, N), (1, N+1)
  ASSERT_EQ(ids.size(1) + 1, all_ids.size(1)) << "the reference draws the end id as well";
  expect_same("ar.output_ids", ids, all_ids.narrow(1, 0, ids.size(1)));
  expect_same("prior_token_ids", trace.tensor("prior_token_ids"), expected.tensor("prior_token_ids"));
  expect_same("noise", trace.tensor("noise"), expected.tensor("noise"));
  for (size_t i = 0; i < GetParam().settings["pictures"].size(); ++i) {
    const std::string reference = concat("references.", i);
    expect_same(reference, trace.tensor(reference + ".token_ids"), expected.tensor(reference + ".token_ids"));
    // The reference sums this float32 in the order of its processor: an exact sum is 3e-3 away (docs/numerics.md).
    const double agreed = device() == "cpu" ? 1e-4 : 5e-3;
    expect_close("references.latents", trace.tensor(reference + ".latents"), expected.tensor(reference + ".latents"),
                 agreed);
  }
  expect_close("glyph.embeds", trace.tensor("glyph.embeds"), expected.tensor("glyph.embeds"));
  expect_close("latents", trace.tensor("latents"), expected.tensor("latents"));
  const at::Tensor unit = trace.tensor("image");  // (1, 3, H, W)
  expect_close("image", unit, expected.tensor("image"));
  const double agreement = test::psnr(unit, expected.tensor("image"));
  lowest_psnr = std::min(lowest_psnr, agreement);
  EXPECT_GE(agreement, kPictureDecibels);

  const Image drawn = load_image(picture);
  EXPECT_EQ(drawn.width, GetParam().settings["width"].get<int64_t>());
  EXPECT_EQ(drawn.height, GetParam().settings["height"].get<int64_t>());
  EXPECT_EQ(drawn.pixels, from_unit_tensor(unit).pixels);
}

INSTANTIATE_TEST_SUITE_P(Goldens, Parity, ::testing::ValuesIn(test::golden_cases()),
                         [](const auto& info) { return info.param.name(); });

}  // namespace
}  // namespace glmimage
