// Bounded memory: the same picture with a quarter of the room, and a peak that was foretold.
#include <gmock/gmock.h>

#include <fstream>

#include "core/encode_image.h"
#include "core/image.h"
#include "core/safetensors.h"
#include "e2e/program.h"
#include "support/emulated_npu.h"

namespace glmimage {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using test::expect_failure;
using test::glm_image;
using test::ProcessOptions;
using test::ProcessResult;
using test::run_process;
using ::testing::HasSubstr;
using Arguments = std::vector<std::string>;

const std::string kMini = (fs::path(GLM_IMAGE_SOURCE_DIR) / "checkpoints/mini").string();
const std::string kExample = (fs::path(GLM_IMAGE_SOURCE_DIR) / "examples/new_emoji").string();

// Writes layers of a part anew: layer i of `wanted` is layer i modulo `known`.
void repeat_layers(const fs::path& part, const std::string& file, const std::string& prefix, int known, int wanted,
                   const std::string& field) {
  NamedTensors tensors;
  {
    const SafetensorsFile stored = SafetensorsFile::open(fs::path(kMini) / part.filename() / file);
    for (const TensorInfo& info : stored.tensors()) {
      if (!info.name.starts_with(prefix)) tensors.emplace_back(info.name, stored.tensor(info.name));
      for (int i = 0; i < wanted; ++i) {
        const std::string own = prefix + std::to_string(i % known) + ".";
        if (!info.name.starts_with(own)) continue;
        tensors.emplace_back(prefix + std::to_string(i) + "." + info.name.substr(own.size()), stored.tensor(info.name));
      }
    }
  }
  write_safetensors(part / file, tensors, {{"format", "pt"}});
  json config = json::parse(std::ifstream(part / "config.json"));
  config[json::json_pointer(field)] = wanted;
  std::ofstream(part / "config.json") << config.dump(1);
}

// The small model with 15 blocks and 12 layers instead of 5 and 4, by repeating them: a quarter of its weights is less
// than one part, and many times a layer.
fs::path deep_model() {
  static const fs::path folder = [] {
    const fs::path out = fs::path(GLM_IMAGE_BINARY_DIR) / "tests/scratch/deep_model";
    fs::remove_all(out);
    fs::create_directories(out.parent_path());
    fs::copy(kMini, out, fs::copy_options::recursive);
    repeat_layers(out / "transformer", "diffusion_pytorch_model.safetensors", "transformer_blocks.", 5, 15,
                  "/num_layers");
    repeat_layers(out / "vision_language_encoder", "model.safetensors", "model.language_model.layers.", 4, 12,
                  "/text_config/num_hidden_layers");
    return out;
  }();
  return folder;
}

struct Drawn {
  std::vector<uint8_t> pixels;
  json memory;       // of the program's own report
  int64_t peak = 0;  // on the emulated device
};

class Memory : public ::testing::Test {
 protected:
  void SetUp() override { folder = test::scratch_folder(); }

  // `capacity`: bytes the emulated device has; 0: no limit.
  ProcessOptions on_device(const Arguments& more, int64_t capacity, const std::string& model = kMini) const {
    Arguments arguments = {
        "--prompt", "a \"cat\" and a red circle", "--steps", "2", "--seed", "5", "--dtype", "float32", "--device",
        "npu"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    ProcessOptions options = glm_image(test::generate(model, folder / "a.png", arguments));
    options.environment["GLM_IMAGE_DEVICE_LIBRARY"] = test::emulated_npu_library().string();
    options.environment["EMULATED_NPU_REPORT"] = (folder / "report.json").string();
    if (capacity > 0) options.environment["EMULATED_NPU_MEMORY"] = std::to_string(capacity);
    return options;
  }

  Drawn draw(const Arguments& more, int64_t capacity = 0, const std::string& model = kMini) const {
    Arguments arguments = more;
    arguments.emplace_back("--json");
    const ProcessResult result = run_process(on_device(arguments, capacity, model));
    EXPECT_EQ(result.exit_code, 0) << result.err;
    if (result.exit_code != 0) return {};
    return {load_image(folder / "a.png").pixels, json::parse(result.out)["memory"],
            json::parse(std::ifstream(folder / "report.json"))["peak_bytes"].get<int64_t>()};
  }

  // A device of a quarter of the weights' size draws what one without limit draws.
  void expect_equal_in_a_quarter(const Arguments& more) const {
    const std::string model = deep_model();
    const Drawn whole = draw(more, 0, model);
    ASSERT_FALSE(whole.pixels.empty());
    EXPECT_TRUE(whole.memory["resident"].get<bool>());
    const int64_t quarter = whole.memory["weight_bytes"].get<int64_t>() / 4;
    EXPECT_GT(whole.peak, 4 * quarter);
    for (const char* policy : {"auto", "low"}) {
      Arguments bounded = more;
      bounded.insert(bounded.end(), {"--memory", policy});
      const Drawn small = draw(bounded, quarter, model);
      EXPECT_EQ(small.pixels, whole.pixels) << policy;
      EXPECT_FALSE(small.memory["resident"].get<bool>());
      EXPECT_LE(small.peak, quarter);
    }
  }

  fs::path folder;
};

TEST_F(Memory, TextToPictureInAQuarter) { expect_equal_in_a_quarter({"--width", "96", "--height", "64"}); }

TEST_F(Memory, EditingInAQuarter) {
  expect_equal_in_a_quarter({"--width", "64", "--height", "64", "--image", test::golden("pictures/square64.png"),
                             "--image", test::golden("pictures/wide96x64.png")});
}

TEST_F(Memory, AdaptersInAQuarter) {
  const Arguments size = {"--width", "64", "--height", "64"};
  const Arguments adapted = {"--width",  "64",
                             "--height", "64",
                             "--lora",   kExample + "/ar.safetensors",
                             "--lora",   kExample + "/dit.safetensors:0.8"};
  expect_equal_in_a_quarter(adapted);
  EXPECT_NE(draw(adapted).pixels, draw(size).pixels);
}

TEST_F(Memory, FewBitsInAThirdOfTheirOwn) {
  const std::string small = (folder / "int4").string();
  ASSERT_EQ(run_process(glm_image({"quantize", kMini, small, "--ar", "int4", "--dit", "int8"})).exit_code, 0);
  const Arguments adapted = {"--width",  "32",   "--height", "32",
                             "--memory", "auto", "--lora",   kExample + "/dit.safetensors"};
  const Drawn whole = draw(adapted, 0, small);
  const Drawn bounded = draw(adapted, whole.memory["weight_bytes"].get<int64_t>() / 3, small);
  EXPECT_FALSE(bounded.memory["resident"].get<bool>());
  EXPECT_EQ(bounded.pixels, whole.pixels);
}

TEST_F(Memory, SaysWhenEvenLowDoesNotFit) {
  expect_failure(run_process(on_device({"--memory", "low"}, 3 << 20)), 5, {"out of memory", "NPU"});
  EXPECT_THAT(test::files_in(folder), ::testing::Not(::testing::Contains("a.png")));
}

TEST_F(Memory, ABudgetThatCannotWorkNamesTheLeast) {
  const Arguments size = {"--width", "64", "--height", "64"};
  const auto budget = [&](const std::string& text) {
    return Arguments{"--width", "64", "--height", "64", "--memory", text};
  };
  const ProcessResult refused = run_process(on_device(budget("1MiB"), 0));
  expect_failure(refused, 5, {"--memory 1MiB cannot work", "needs"});
  const size_t at = refused.err.find("needs ") + 6;
  const std::string least = refused.err.substr(at, refused.err.find(' ', at) - at);
  const Drawn bounded = draw(budget(least));
  EXPECT_EQ(bounded.pixels, draw(size).pixels);
  EXPECT_LE(bounded.peak, bounded.memory["predicted_bytes"].get<int64_t>() * 1.1);
  EXPECT_LE(bounded.memory["predicted_bytes"].get<int64_t>(), std::stoll(least) << 20);
}

TEST_F(Memory, RefusesOtherWords) {
  for (const char* text :
       {"", "lots", "6", "-1GiB", "0GiB", "1.5.2GiB", "6 GiBs", "nan", "inf", "1e30GiB", "6 gibbons"}) {
    expect_failure(run_process(on_device({"--memory", text}, 0)), 2, {"--memory"});
  }
  for (const char* text : {"AUTO", "64GiB", "64 gib", "0.5TB", "8000m"}) {
    EXPECT_TRUE(draw({"--width", "32", "--height", "32", "--memory", text}).memory["resident"].get<bool>()) << text;
  }
}

// What inspect says of a picture.
json inspect(const Arguments& more) {
  Arguments arguments = {"inspect", kMini, "--json", "--dtype", "float32"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return json::parse(run_process(glm_image(arguments)).out)["memory"];
}

void expect_near(int64_t predicted, int64_t measured, const std::string& what) {
  EXPECT_NEAR(static_cast<double>(predicted), static_cast<double>(measured), 0.1 * static_cast<double>(measured))
      << what;
}

TEST_F(Memory, ThePeakOnADeviceIsForetold) {
  const json predicted = inspect({"--device", "npu"});
  expect_near(predicted["resident"]["peak_bytes"], draw({}).peak, "resident");
  expect_near(predicted["low"]["peak_bytes"], draw({"--memory", "low"}).peak, "low");
  const std::string least = std::to_string((predicted["least"]["peak_bytes"].get<int64_t>() >> 20) + 1) + "MiB";
  expect_near(predicted["least"]["peak_bytes"], draw({"--memory", least}).peak, "least");

  const json larger = inspect({"--device", "npu", "--width", "256", "--height", "192", "--references", "1"});
  const fs::path picture = folder / "reference.png";
  save_image(picture, {.width = 256, .height = 192, .pixels = std::vector<uint8_t>(3 * 256 * 192, 90)});
  const Arguments editing = {"--width", "256", "--height", "192", "--image", picture.string()};
  expect_near(larger["resident"]["peak_bytes"], draw(editing).peak, "a larger picture, resident");
}

// The most memory of its own a drawing process had; what the libraries take is measured with a model of nothing.
int64_t anonymous_peak(const std::string& model, const fs::path& output, const Arguments& more) {
  Arguments arguments = {"--prompt", "a cat", "--steps", "2", "--seed", "5", "--dtype", "float32"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  ProcessOptions options = glm_image(test::generate(model, output, arguments));
  options.environment["MALLOC_MMAP_THRESHOLD_"] = "262144";  // or the C library keeps some of what is freed
  options.environment["MALLOC_TRIM_THRESHOLD_"] = "1048576";
  test::Process process(options);
  const int64_t peak = process.peak_of("RssAnon");
  const ProcessResult result = process.wait();
  EXPECT_EQ(result.exit_code, 0) << result.err;
  return peak;
}

TEST_F(Memory, ThePeakOnAProcessorIsForetold) {
  const Arguments size = {"--width", "256", "--height", "256"};
  Arguments low = size;
  low.insert(low.end(), {"--memory", "low"});
  const int64_t libraries = anonymous_peak(test::checkpoint("tiny_a"), folder / "a.png",
                                           {"--width", "32", "--height", "32", "--memory", "low"});
  const json predicted = inspect(size);
  expect_near(predicted["resident"]["peak_bytes"], anonymous_peak(kMini, folder / "a.png", size) - libraries,
              "resident");
  expect_near(predicted["low"]["peak_bytes"], anonymous_peak(kMini, folder / "a.png", low) - libraries, "low");
}

}  // namespace
}  // namespace glmimage
