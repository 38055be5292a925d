// The road a picture takes on an accelerator, with the device played by the CPU: same ids and picture as on the CPU,
// and the arithmetic really done there.
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/norm.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <memory>

#include "core/image.h"
#include "e2e/golden_case.h"
#include "support/emulated_npu.h"

namespace glmimage {
namespace {

using nlohmann::json;
using test::GoldenCase;

constexpr double kPictureDecibels = 50;

GoldenCase golden_case(const std::string& name) {
  for (const GoldenCase& one : test::golden_cases()) {
    if (one.name() == name) return one;
  }
  throw std::runtime_error("no golden case " + name);
}

int64_t ops(const json& report, const std::string& name) { return report["ops"].value(name, int64_t{0}); }

// A golden picture, and whether the device brings fused operators.
struct OnDevice {
  const char* name;
  bool operators;
};

class Device : public ::testing::TestWithParam<OnDevice> {};

TEST_P(Device, DrawsTheGoldenPicture) {
  const GoldenCase one = golden_case(GetParam().name);
  const auto folder = test::scratch_folder();
  const auto picture = folder / "a.png", trace_file = folder / "t.safetensors", report_file = folder / "report.json";
  std::vector<std::string> arguments = one.arguments(picture, trace_file);
  for (const char* each : {"--device", "npu", "--dtype", "float32"}) arguments.push_back(each);
  test::ProcessOptions options = test::glm_image(arguments);
  options.environment["GLM_IMAGE_DEVICE_LIBRARY"] = test::emulated_npu_library().string();
  options.environment["EMULATED_NPU_REPORT"] = report_file.string();
  options.environment["EMULATED_NPU_OPERATORS"] = GetParam().operators ? "1" : "0";
  const test::ProcessResult result = test::run_process(options);
  ASSERT_EQ(result.exit_code, 0) << result.err << "signal " << result.signal;

  const SafetensorsFile trace = SafetensorsFile::open(trace_file), expected = one.tensors();
  EXPECT_TRUE(at::equal(trace.tensor("prior_token_ids"), expected.tensor("prior_token_ids")));
  EXPECT_TRUE(at::equal(trace.tensor("noise"), expected.tensor("noise"))) << "a seed means the same on every device";
  const int64_t pictures = static_cast<int64_t>(one.settings["pictures"].size());
  for (int64_t i = 0; i < pictures; ++i) {
    const std::string ids = "references." + std::to_string(i) + ".token_ids";
    EXPECT_TRUE(at::equal(trace.tensor(ids), expected.tensor(ids)));
  }
  EXPECT_GE(test::psnr(trace.tensor("image"), expected.tensor("image")), kPictureDecibels);
  EXPECT_EQ(load_image(picture).pixels, from_unit_tensor(trace.tensor("image")).pixels);

  // Every layer of every step multiplies and attends on the device.
  const json report = json::parse(std::ifstream(report_file));
  const int64_t drawn = trace.tensor("ar.output_ids").numel();
  EXPECT_GE(ops(report, "aten::mm") + ops(report, "aten::addmm"), 8 * (drawn - 1));
  EXPECT_GE(ops(report, "aten::_softmax"), 2 * drawn);  // two layers
  EXPECT_GE(ops(report, "aten::bmm"), 40);  // attention where none is fused: at least of the transformer's steps
  EXPECT_GE(ops(report, "aten::convolution"), 10);  // the VAE's decoder
  for (const char* fused : {"npu::npu_rms_norm", "npu::npu_rotary_mul", "npu::npu_swiglu"}) {
    EXPECT_GE(ops(report, fused), GetParam().operators ? 2 * drawn : 0) << fused;
    if (!GetParam().operators) {
      EXPECT_EQ(ops(report, fused), 0) << fused;
    }
  }
  EXPECT_GT(report["peak_bytes"], 100000) << "the weights live there";
  EXPECT_GT(report["bytes_to_device"], 100000);
}

INSTANTIATE_TEST_SUITE_P(Goldens, Device,
                         ::testing::Values(OnDevice{"tiny_a_t2i_wide", false},
                                           OnDevice{"tiny_a_t2i_tall_quoted", false},
                                           OnDevice{"tiny_a_edit_two", false}, OnDevice{"tiny_b_edit_one", false},
                                           OnDevice{"tiny_c_t2i_square", false}, OnDevice{"tiny_a_edit_two", true},
                                           OnDevice{"tiny_b_edit_one", true}, OnDevice{"tiny_c_t2i_square", true}),
                         [](const auto& info) {
                           return std::string(info.param.name) + (info.param.operators ? "_fused" : "");
                         });

// Sixteen-bit types are what accelerators are used with: the picture must be one of numbers, of the right size.
TEST(DeviceType, BFloat16IsTheDefault) {
  const auto folder = test::scratch_folder();
  test::ProcessOptions options =
      test::glm_image(test::generate(test::checkpoint("tiny_a"), folder / "a.png",
                                     {"--prompt", "a 'cat'", "--width", "64", "--height", "32", "--steps", "2",
                                      "--seed", "5", "--device", "npu", "--json"}));
  options.environment["GLM_IMAGE_DEVICE_LIBRARY"] = test::emulated_npu_library().string();
  const test::ProcessResult result = test::run_process(options);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(json::parse(result.out)["dtype"], "bfloat16");
  EXPECT_EQ(load_image(folder / "a.png").width, 64);
}

// The losses of all steps, and what was measured at the end, under the same names.
std::vector<json> numbers_of(const std::filesystem::path& run) {
  std::ifstream file(run / "metrics.jsonl");
  std::vector<json> lines;
  for (std::string line; std::getline(file, line);) {
    json all = json::parse(line), kept = json::object();
    for (const auto& [name, value] : all.items()) {
      if (name == "loss" || name.starts_with("held_out_")) kept[name] = value;
    }
    lines.push_back(std::move(kept));
  }
  return lines;
}

// The largest relative difference between two runs' trained weights, file by file.
double weights_apart(const std::filesystem::path& one, const std::filesystem::path& other) {
  double most = 0;
  int64_t tensors = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(one / "final")) {
    if (entry.path().extension() != ".safetensors") continue;
    const SafetensorsFile expected = SafetensorsFile::open(entry.path());
    const SafetensorsFile got =
        SafetensorsFile::open(other / "final" / std::filesystem::relative(entry.path(), one / "final"));
    for (const TensorInfo& info : expected.tensors()) {
      if (!at::isFloatingType(info.dtype)) continue;
      const at::Tensor want = expected.tensor(info.name).to(at::kDouble);
      const at::Tensor apart = got.tensor(info.name).to(at::kDouble) - want;
      most = std::max(most, apart.norm().item<double>() / std::max(want.norm().item<double>(), 1e-12));
      ++tensors;
    }
  }
  EXPECT_GT(tensors, 0) << one;
  return most;
}

// Every batch, every frozen part and every trained weight is there, or the device would refuse. Its fused operators
// attend, norm, turn, gate and update.
TEST(DeviceType, TrainsAllStagesAsOnTheProcessor) {
  using Arguments = std::vector<std::string>;
  const auto folder = test::scratch_folder(), cpu = folder / "cpu", npu = folder / "npu";
  const auto run = [&](Arguments arguments) {
    test::ProcessOptions options = test::glm_image(std::move(arguments));
    options.environment["GLM_IMAGE_DEVICE_LIBRARY"] = test::emulated_npu_library().string();
    options.environment["EMULATED_NPU_REPORT"] = (folder / "report.json").string();
    options.environment["EMULATED_NPU_OPERATORS"] = "1";
    options.limit = std::chrono::minutes(10);
    const test::ProcessResult result = test::run_process(options);
    ASSERT_EQ(result.exit_code, 0) << options.arguments[2] << "\n" << result.err;
  };
  const auto expect_equal = [&](const std::string& name, const std::string& stage, Arguments more,
                                const char* steps = "3") {
    const Arguments arguments = {
        "train",   stage, "--preset", "tiny",     "--data", "synthetic:32",     "--steps",   steps,
        "--batch", "2",   "--set",    "warmup=0", "--set",  "held_out_every=2", "--threads", "1"};
    more.insert(more.begin(), arguments.begin(), arguments.end());
    more.insert(more.end(), {"--out", cpu / name});
    run(more);
    more.back() = npu / name;
    more.insert(more.end(), {"--device", "npu"});
    run(more);
    const json report = json::parse(std::ifstream(folder / "report.json"));
    EXPECT_GE(ops(report, "aten::_fused_adamw_"), 3) << name;
    if (stage != "vae") {
      EXPECT_GT(ops(report, "npu::npu_fusion_attention_grad"), 0) << name;
    }
    if (stage == "ar") {
      for (const char* fused : {"npu::npu_rms_norm", "npu::npu_rotary_mul", "npu::npu_swiglu"}) {
        EXPECT_GE(ops(report, fused), 3) << name << " " << fused;
      }
    }
    EXPECT_LT(weights_apart(cpu / name, npu / name), 1e-2) << name;
    const std::vector<json> expected = numbers_of(cpu / name), got = numbers_of(npu / name);
    ASSERT_EQ(got.size(), expected.size()) << name;
    for (size_t i = 0; i < expected.size(); ++i) {
      for (const auto& [key, value] : expected[i].items()) {
        EXPECT_NEAR(got[i].at(key), value, 1e-3 * std::abs(value.get<double>())) << name << " " << key;
      }
    }
  };
  const std::string vae = cpu / "vae/final", tokenizer = cpu / "tokenizer/final", base = folder / "base";
  expect_equal("vae", "vae", {});
  expect_equal("tokenizer", "tokenizer", {"--set", "tokenizer.soft_share=0.4"});
  const auto with_parts = [&](Arguments more) {
    more.insert(more.end(), {"--vae", vae, "--tokenizer", tokenizer});
    return more;
  };
  const Arguments dit = with_parts({"--set", "sample_every=3", "--set", "recompute=true"});
  expect_equal("dit", "dit", dit);
  expect_equal("dit", "dit", dit, "6");  // goes on from the saved state
  expect_equal("ar", "ar", {"--tokenizer", tokenizer});
  run({"train", "assemble", "--vae", vae, "--dit", cpu / "dit/final", "--ar", cpu / "ar/final", "--out", base});
  const Arguments adapter = {"--init", base, "--set", "lora.rank=2"};
  expect_equal("ar_adapter", "ar", adapter);
  expect_equal("frozen", "dit", {"--init", base, "--set", "dit.train_text_encoder=false"});
  Arguments drawing = adapter;
  drawing.insert(drawing.end(), {"--set", "sample_every=3", "--set", "prompts=[\"a cat\"]"});
  expect_equal("dit_adapter", "dit", drawing);
}

// Two ranks, each on an emulated device of its own with its fused operators and collectives, end with the weights of
// one process on the processor.
TEST(DeviceType, TwoDevicesTrainAsOneProcessor) {
  const auto folder = test::scratch_folder();
  const auto options_of = [&](const std::string& name, const char* device) {
    test::ProcessOptions options =
        test::glm_image({"train",     "tokenizer", "--preset", "tiny",  "--data",       "synthetic:32", "--steps",
                         "3",         "--batch",   "1",        "--set", "accumulate=2", "--set",        "warmup=0",
                         "--threads", "1",         "--device", device,  "--out",        folder / name});
    options.environment["GLM_IMAGE_DEVICE_LIBRARY"] = test::emulated_npu_library().string();
    options.environment["EMULATED_NPU_OPERATORS"] = "1";
    options.environment["EMULATED_NPU_DEVICES"] = "2";
    options.limit = std::chrono::minutes(10);
    return options;
  };
  const test::ProcessResult alone = test::run_process(options_of("cpu", "cpu"));
  ASSERT_EQ(alone.exit_code, 0) << alone.err;
  const std::string port = std::to_string(30'000 + ::getpid() % 2'000);
  for (const char* sharding : {"none", "zero3"}) {
    std::vector<std::unique_ptr<test::Process>> ranks;
    for (const char* rank : {"0", "1"}) {
      test::ProcessOptions options = options_of(sharding, "npu");
      options.arguments.insert(options.arguments.end(), {"--set", std::string("distributed.sharding=") + sharding});
      options.environment["EMULATED_NPU_REPORT"] = folder / (std::string(sharding) + rank + ".json");
      for (const char* name : {"RANK", "LOCAL_RANK"}) options.environment[name] = rank;
      for (const char* name : {"WORLD_SIZE", "LOCAL_WORLD_SIZE"}) options.environment[name] = "2";
      options.environment["MASTER_ADDR"] = "127.0.0.1";
      options.environment["MASTER_PORT"] = port;
      ranks.push_back(std::make_unique<test::Process>(options));
    }
    for (const auto& rank : ranks) {
      const test::ProcessResult result = rank->wait();
      ASSERT_EQ(result.exit_code, 0) << sharding << "\n" << result.err;
    }
    for (const char* rank : {"0", "1"}) {
      const json report = json::parse(std::ifstream(folder / (std::string(sharding) + rank + ".json")));
      EXPECT_GE(ops(report, "aten::_fused_adamw_"), 3);
      EXPECT_GT(ops(report, "npu::npu_fusion_attention_grad"), 0);
      EXPECT_GT(ops(report, sharding == std::string("none") ? "group::allreduce" : "group::_allgather_base"), 0);
    }
    EXPECT_LT(weights_apart(folder / "cpu", folder / sharding), 1e-2) << sharding;
  }
}

TEST(DeviceType, BrokenDeviceIsOneLine) {
  const auto folder = test::scratch_folder();
  test::ProcessOptions options = test::glm_image(
      test::generate(test::checkpoint("tiny_a"), folder / "a.png", {"--prompt", "cat", "--device", "npu"}));
  options.environment["GLM_IMAGE_DEVICE_LIBRARY"] = test::emulated_npu_library().string();
  options.environment["EMULATED_NPU_BROKEN"] = "no card in the slot";
  test::expect_failure(test::run_process(options), 4, {"npu", "no card in the slot"});
}

}  // namespace
}  // namespace glmimage
