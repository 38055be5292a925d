#include "core/device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "support/emulated_npu.h"
#include "support/goldens.h"

namespace glmimage {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(Device, Parses) {
  EXPECT_EQ(parse_device("cpu").device, at::Device(at::kCPU));
  EXPECT_EQ(parse_device("cpu").library, "");
  EXPECT_EQ(parse_device("cuda").device, at::Device(at::kCUDA, 0));
  EXPECT_EQ(parse_device("cuda:3").device, at::Device(at::kCUDA, 3));
  EXPECT_EQ(parse_device("cuda").library, "libtorch_cuda.so");
  EXPECT_EQ(parse_device("npu:1").device, at::Device(at::kPrivateUse1, 1));
  EXPECT_EQ(parse_device("npu").library, "libtorch_npu.so");
  for (const char* text : {"cpu", "cuda:0", "cuda:127", "npu:0"}) {
    EXPECT_EQ(device_name(parse_device(text).device), text);
  }
}

TEST(Device, RefusesOtherTexts) {
  for (const char* text : {"", "gpu", "CUDA", "cpu:0", "cuda:", "cuda:-1", "cuda:128", "cuda:x", "cuda:1x",
                           "cuda:99999", "npu:0:0", " cuda", "privateuseone", "mps", "meta"}) {
    try {
      parse_device(text);
      ADD_FAILURE() << text;
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::usage);
      EXPECT_THAT(e.what(), HasSubstr(concat("device '", text, "'")));
    }
  }
}

TEST(Device, TheProcessorIsAlwaysThere) { EXPECT_EQ(open_device(parse_device("cpu")), at::Device(at::kCPU)); }

// Device libraries stay in a process for good, and CUDA's must be the first thing loaded: each attempt is made by this
// program started anew, as the test DISABLED_Attempt below.
using Environment = std::map<std::string, std::string>;

std::string attempt(const std::string& device, Environment environment) {
  const auto answer = test::scratch_folder() / "answer";
  environment["DEVICE_TEST_DEVICE"] = device;
  environment["DEVICE_TEST_ANSWER"] = answer.string();
  std::string command = "env -u GLM_IMAGE_DEVICE_LIBRARY";
  for (const auto& [name, value] : environment) command += concat(" ", name, "='", value, "'");
  command += concat(" '", std::filesystem::read_symlink("/proc/self/exe").string(),
                    "' --gtest_filter=Device.DISABLED_Attempt --gtest_also_run_disabled_tests >/dev/null 2>&1");
  if (std::system(command.c_str()) != 0) return "the attempt crashed";
  std::ifstream stream(answer);
  return {std::istreambuf_iterator<char>(stream), {}};
}

std::string attempt(const std::string& device, const std::filesystem::path& library) {
  return attempt(device, Environment{{"GLM_IMAGE_DEVICE_LIBRARY", library.string()}});
}

// Writes "opened npu:0", or the ErrorKind::device message.
TEST(Device, DISABLED_Attempt) {
  const char* device = std::getenv("DEVICE_TEST_DEVICE");
  const char* answer = std::getenv("DEVICE_TEST_ANSWER");
  if (!device || !answer) GTEST_SKIP() << "a part of the tests below";
  std::ofstream out(answer);
  set_threads(1);                            // as the command line does: allowed before the device is opened
  for (int round = 0; round < 2; ++round) {  // opening twice is allowed and finds the same
    std::string said;
    try {
      said = "opened " + device_name(open_device(parse_device(device)));
    } catch (const Error& e) {
      said = e.kind() == ErrorKind::device ? e.what() : concat("another kind of error: ", e.what());
    } catch (const std::exception& e) {
      said = concat("another exception: ", e.what());
    }
    if (said.find('\n') != std::string::npos) said = "more than one line";
    if (round == 0) out << said;
  }
}

TEST(Device, SaysWhichLibraryIsMissing) {
  // Where the libraries are installed the message is about the driver or the device, or the device opens.
  const std::string cuda = attempt("cuda", Environment{});
  EXPECT_THAT(cuda, ::testing::AnyOf(HasSubstr("device 'cuda:0' is not available: "), HasSubstr("opened cuda:0")));
  if (cuda.find("was not found") != std::string::npos) {
    EXPECT_THAT(cuda, HasSubstr("scripts/bootstrap --cuda"));
  }
  const std::string npu = attempt("npu", Environment{});
  EXPECT_THAT(npu, ::testing::AnyOf(HasSubstr("device 'npu:0' is not available: "), HasSubstr("opened npu:0")));
  if (npu.find("was not found") != std::string::npos) {
    EXPECT_THAT(npu, HasSubstr("docs/hardware.md"));
  }
}

TEST(Device, RefusesLibrariesThatAreNone) {
  EXPECT_THAT(attempt("cuda", "/absent/library.so"),
              HasSubstr("GLM_IMAGE_DEVICE_LIBRARY names no file: /absent/library.so"));
  const auto file = std::filesystem::path(GLM_IMAGE_BINARY_DIR) / "scratch" / "not_a_library.so";
  std::ofstream(file) << "not a library";
  EXPECT_THAT(attempt("cuda", file), AllOf(HasSubstr("cannot be loaded"), HasSubstr(file.string())));
  EXPECT_THAT(attempt("npu", file), HasSubstr("cannot be loaded"));
  EXPECT_THAT(attempt("npu", "/proc/self/exe"), HasSubstr("cannot be loaded"));
}

TEST(Device, OpensTheEmulatedDevice) {
  EXPECT_EQ(attempt("npu", test::emulated_npu_library()), "opened npu:0");
  EXPECT_EQ(attempt("npu:0", test::emulated_npu_library()), "opened npu:0");
  EXPECT_THAT(attempt("npu:1", test::emulated_npu_library()),
              HasSubstr("the system has 1 such device, counted from 0"));
  // A library for another device.
  EXPECT_THAT(attempt("cuda", test::emulated_npu_library()), HasSubstr("device 'cuda:0' is not available: "));
}

TEST(Device, ReportsADeviceThatDoesNotStart) {
  EXPECT_EQ(attempt("npu", {{"GLM_IMAGE_DEVICE_LIBRARY", test::emulated_npu_library().string()},
                            {"EMULATED_NPU_BROKEN", "no driver\nand a stack trace"}}),
            "device 'npu:0' is not available: no driver");
}

TEST(Device, ShutsTheDeviceDownAtExit) {
  const auto report = std::filesystem::path(GLM_IMAGE_BINARY_DIR) / "scratch" / "npu_report.json";
  std::filesystem::remove(report);
  EXPECT_EQ(attempt("npu", {{"GLM_IMAGE_DEVICE_LIBRARY", test::emulated_npu_library().string()},
                            {"EMULATED_NPU_REPORT", report.string()}}),
            "opened npu:0");
  const nlohmann::json counts = nlohmann::json::parse(std::ifstream(report));
  EXPECT_EQ(counts.at("ops").at("aten::sum"), 2);
}

}  // namespace
}  // namespace glmimage
