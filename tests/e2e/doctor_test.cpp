// glm-image doctor: what it prints, and with which exit code it ends.
#include <unistd.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "doctor/fake_system.h"
#include "e2e/program.h"
#include "support/emulated_npu.h"

namespace glmimage {
namespace {

using nlohmann::json;

test::ProcessResult doctor(std::vector<std::string> arguments, const std::string& library = "") {
  arguments.insert(arguments.begin(), {"doctor"});
  test::ProcessOptions options = test::glm_image(std::move(arguments));
  options.environment["GLM_IMAGE_DEVICE_LIBRARY"] = library;
  return test::run_process(options);
}

TEST(Doctor, AnyMachineIsTold) {
  const test::ProcessResult result = doctor({"--device", "cpu", "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const json report = json::parse(result.out);
  EXPECT_TRUE(report["healthy"].get<bool>());
  EXPECT_EQ(report["devices"].size(), 1U);
  bool measured = false;
  for (const json& each : report["devices"][0]["findings"]) {
    measured = measured || (each["subject"] == "product in bfloat16" && each["figure"] > 0);
  }
  EXPECT_TRUE(measured) << result.out;
}

TEST(Doctor, ADeviceThatIsNotThereIsExitCodeFour) {
  const test::ProcessResult result = doctor({"--device", "npu", "--quick"});
  EXPECT_EQ(result.exit_code, 4) << result.err;
  EXPECT_NE(result.out.find("! opening npu:0"), std::string::npos) << result.out;
  EXPECT_NE(result.out.find("-> "), std::string::npos) << "what to do about it";
}

TEST(Doctor, ADeviceThatWorksIsHealthy) {
  const test::ProcessResult result = doctor({"--device", "npu"}, test::emulated_npu_library().string());
  EXPECT_EQ(result.exit_code, 0) << result.out << result.err;
  EXPECT_NE(result.out.find("product in bfloat16"), std::string::npos);
}

// Each of two processes has a device of its own, and says how fast sums go.
TEST(Doctor, SeveralProcessesMeasureTheirSums) {
  const std::string port = std::to_string(20'000 + ::getpid() % 10'000);
  std::vector<std::unique_ptr<test::Process>> ranks;
  for (const char* rank : {"0", "1"}) {
    test::ProcessOptions options = test::glm_image({"doctor", "--device", "npu"});
    options.environment = {{"GLM_IMAGE_DEVICE_LIBRARY", test::emulated_npu_library().string()},
                           {"EMULATED_NPU_DEVICES", "2"},
                           {"OMP_NUM_THREADS", "1"},
                           {"RANK", rank},
                           {"LOCAL_RANK", rank},
                           {"WORLD_SIZE", "2"},
                           {"LOCAL_WORLD_SIZE", "2"},
                           {"MASTER_ADDR", "127.0.0.1"},
                           {"MASTER_PORT", port}};
    ranks.push_back(std::make_unique<test::Process>(options));
  }
  for (size_t rank = 0; rank < 2; ++rank) {
    const test::ProcessResult result = ranks[rank]->wait();
    EXPECT_EQ(result.exit_code, 0) << result.out << result.err;
    EXPECT_NE(result.out.find("opening npu:" + std::to_string(rank)), std::string::npos) << result.out;
    EXPECT_NE(result.out.find("sum over processes"), std::string::npos) << result.out;
  }
}

TEST(Doctor, AnotherSystemsFiles) {
  test::FakeSystem good, unpaired;
  good.atlas("26.1.0", "8.7.0.1.231", "9.1.0");
  unpaired.atlas("25.0.rc1.1", "7.7.0.1.231", "9.1.0");
  // LibTorch would lie where this program's does.
  for (test::FakeSystem* each : {&good, &unpaired}) {
    const json found = json::parse(doctor({"--device", "cpu", "--json", "--quick"}).out);
    for (const json& one : found["devices"][0]["findings"]) {
      if (one["subject"] == "LibTorch") each->file(one["source"].get<std::string>() + "/libtorch_npu.so", "");
    }
  }
  EXPECT_EQ(doctor({"--device", "npu", "--root", good.root().string()}).exit_code, 0);
  const test::ProcessResult result = doctor({"--device", "npu", "--root", unpaired.root().string()});
  EXPECT_EQ(result.exit_code, 4);
  EXPECT_NE(result.out.find("! CANN and driver"), std::string::npos) << result.out;
  test::expect_failure(doctor({"--root", "/no/such/folder"}), 2, {"--root /no/such/folder"});
  test::expect_failure(doctor({"--device", "tpu"}), 2, {"tpu"});
}

}  // namespace
}  // namespace glmimage
