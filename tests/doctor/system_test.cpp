// What doctor reads off a system's files: whole machines, machines that lack something, broken files.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <nlohmann/json.hpp>

#include "doctor/doctor.h"
#include "doctor/fake_system.h"
#include "doctor/parts.h"
#include "support/emulated_npu.h"

namespace glmimage::doctor {
namespace {

using test::FakeSystem;
using test::finding;

constexpr const char* kTorch = "/opt/torch/lib";

Examination ascend(const FakeSystem& system, Wanted wanted = Wanted::no) {
  return examine_ascend(SystemTree(system.root()), kTorch, "2.11.0", wanted);
}

Examination nvidia(const FakeSystem& system, Wanted wanted = Wanted::no) {
  return examine_nvidia(SystemTree(system.root()), kTorch, wanted);
}

std::string problems(const Examination& seen) {
  std::string out;
  for (const Finding& each : seen.findings) {
    if (each.state == State::problem) out += each.subject + ": " + each.value + "; ";
  }
  return out;
}

TEST(Ascend, AWholeMachine) {
  FakeSystem system;
  const Examination seen = ascend(system.atlas("26.1.0", "8.7.0.1.231", "9.1.0"), Wanted::yes);
  EXPECT_EQ(problems(seen), "");
  EXPECT_EQ(finding(seen, "devices").figure, 2) << "network cards are no devices";
  EXPECT_EQ(finding(seen, "device files").figure, 2);
  EXPECT_EQ(finding(seen, "driver").value, "26.1.0");
  EXPECT_EQ(finding(seen, "CANN").value, "9.1.0") << "behind an absolute link that stays in the tree";
  EXPECT_EQ(finding(seen, "CANN").source, "/usr/local/Ascend/cann/aarch64-linux/ascend_toolkit_install.info");
  for (const char* pair : {"driver and firmware", "CANN and driver", "CANN and LibTorch"}) {
    EXPECT_EQ(finding(seen, pair).state, State::good) << pair << finding(seen, pair).value;
  }
  EXPECT_EQ(finding(seen, "libtorch_npu.so").value, "/opt/torch/lib/libtorch_npu.so");
}

TEST(Ascend, WhatDoesNotPair) {
  FakeSystem old_driver, old_cann, old_firmware;
  const Examination by_driver = ascend(old_driver.atlas("25.0.rc1.1", "7.7.0.1.231", "9.1.0"));
  EXPECT_EQ(finding(by_driver, "CANN and driver").state, State::problem);
  EXPECT_NE(finding(by_driver, "CANN and driver").advice.find("newer driver"), std::string::npos);
  const Examination by_cann = ascend(old_cann.atlas("25.5.0", "8.7.0.1.231", "8.5.0"));
  EXPECT_EQ(finding(by_cann, "CANN and driver").state, State::good);
  EXPECT_EQ(finding(by_cann, "CANN and LibTorch").state, State::problem);
  EXPECT_NE(finding(by_cann, "CANN and LibTorch").advice.find("9.1.0"), std::string::npos);
  const Examination by_firmware = ascend(old_firmware.atlas("26.1.0", "6.4.0.1", "9.1.0"));
  EXPECT_EQ(finding(by_firmware, "driver and firmware").state, State::problem);
}

TEST(Ascend, OlderCannHasAnotherFolder) {
  FakeSystem system;
  system.pci("0000:01:00.0", "0x19e5", "0x120000");
  system.link("/usr/local/Ascend/ascend-toolkit/latest", "8.3.RC1");
  system.file("/usr/local/Ascend/ascend-toolkit/8.3.RC1/x86_64-linux/ascend_toolkit_install.info", "version=8.3.RC1\n");
  const Examination seen = ascend(system);
  EXPECT_EQ(finding(seen, "CANN").value, "8.3.RC1");
  EXPECT_EQ(finding(seen, "CANN's operators").value, "was not looked at") << "kernels of their own came with 8.5";
}

TEST(Ascend, ADeviceWithoutSoftware) {
  FakeSystem system;
  const Examination seen = ascend(system.pci("0000:01:00.0", "0x19e5", "0x120000"));
  for (const char* missing : {"driver", "device files", "CANN", "libtorch_npu.so"}) {
    EXPECT_EQ(finding(seen, missing).state, State::problem) << missing;
    EXPECT_FALSE(finding(seen, missing).advice.empty()) << missing;
  }
}

TEST(Ascend, BrokenFilesAreProblemsOfTheirOwn) {
  FakeSystem system;
  system.atlas("26.1.0", "8.7.0.1.231", "9.1.0");
  system.file("/usr/local/Ascend/driver/version.info", std::string(200000, 'x'));
  system.file("/usr/local/Ascend/cann-9.1.0/aarch64-linux/ascend_toolkit_install.info",
              "version=\nversion=9\n=\n===\n");
  Examination seen = ascend(system);
  EXPECT_EQ(finding(seen, "driver").state, State::problem);
  EXPECT_EQ(finding(seen, "CANN").state, State::problem) << "the first line counts";
  EXPECT_EQ(finding(seen, "CANN and driver").value, "was not looked at");
  system.file("/usr/local/Ascend/cann-9.1.0/aarch64-linux/ascend_toolkit_install.info", "version=9.1.0\n");
  system.file("/usr/local/Ascend/cann-9.1.0/aarch64-linux/ascend_ops_install.info", "version=8.5.0\n");
  std::filesystem::remove(system.root() / "dev/hisi_hdc");
  seen = ascend(system);
  EXPECT_EQ(finding(seen, "CANN's operators").state, State::problem) << "operators of another CANN";
  EXPECT_NE(finding(seen, "device files").value.find("/dev/hisi_hdc"), std::string::npos);
}

TEST(Ascend, AMachineWithoutIsNoProblemUnlessItIsAskedFor) {
  FakeSystem system;
  EXPECT_FALSE(ascend(system).has_problem());
  EXPECT_TRUE(ascend(system, Wanted::yes).has_problem());
  EXPECT_FALSE(ascend(system, Wanted::and_works).has_problem());
}

FakeSystem& with_card(FakeSystem& system, const std::string& version) {
  system.pci("0000:01:00.0", "0x10de", "0x030200").file("/dev/nvidia0", "");
  system.file("/proc/driver/nvidia/version", "NVRM version: " + version + "  Release Build\nGCC version:  gcc 12\n");
  system.file("/proc/driver/nvidia/gpus/0000:01:00.0/information",
              "Model: \t\t NVIDIA H100 80GB HBM3\nIRQ:   \t\t 1\n");
  system.file("/opt/torch/lib/libtorch_cuda.so", "");
  return system.file("/opt/torch/version.py", "__all__ = []\n__version__ = '2.11.0'\ncuda: Optional[str] = '13.0'\n");
}

TEST(Nvidia, DriversOfBothKinds) {
  FakeSystem closed, open;
  const Examination one = nvidia(with_card(closed, "NVIDIA UNIX x86_64 Kernel Module  580.159.04  Sun Jul 27"));
  EXPECT_EQ(problems(one), "");
  EXPECT_EQ(finding(one, "cards").value, "1 x NVIDIA H100 80GB HBM3");
  EXPECT_EQ(finding(one, "driver").value, "580.159.04");
  EXPECT_EQ(finding(one, "driver and CUDA").state, State::good);
  EXPECT_EQ(finding(one, "NCCL").state, State::absent);
  const Examination two = nvidia(with_card(open, "NVIDIA UNIX Open Kernel Module for aarch64  590.44.01  Release"));
  EXPECT_EQ(finding(two, "driver").value, "590.44.01");
}

TEST(Nvidia, AnOldDriver) {
  FakeSystem system;
  const Examination seen = nvidia(with_card(system, "NVIDIA UNIX x86_64 Kernel Module  570.86.10  Sun"));
  EXPECT_EQ(finding(seen, "driver and CUDA").state, State::problem);
  EXPECT_NE(finding(seen, "driver and CUDA").advice.find("580.65.06"), std::string::npos);
}

TEST(Nvidia, ACardWithoutDriverOrLibrary) {
  FakeSystem card, broken, bare;
  const Examination seen = nvidia(card.pci("0000:01:00.0", "0x10de", "0x030000"));
  EXPECT_EQ(finding(seen, "driver").state, State::problem);
  with_card(broken, "?");
  std::filesystem::remove(broken.root() / "opt/torch/lib/libtorch_cuda.so");
  EXPECT_EQ(finding(nvidia(broken), "driver").state, State::problem);
  EXPECT_FALSE(nvidia(bare).has_problem());
  EXPECT_TRUE(nvidia(bare, Wanted::yes).has_problem());
}

TEST(Processor, InstructionSetsOfBothMachines) {
  FakeSystem intel, kunpeng, nothing;
  intel.file("/proc/cpuinfo", "model name\t: Some CPU\nflags\t\t: fpu avx2 fma avx512f amx_bf16 amx_tile\n");
  kunpeng.file("/proc/cpuinfo", "Features\t: fp asimd asimddp bf16\nCPU implementer\t: 0x48\nCPU part\t: 0xd03\n");
  const Examination x86 = examine_processor(SystemTree(intel.root()));
  EXPECT_EQ(finding(x86, "processor").value, "Some CPU");
  EXPECT_EQ(finding(x86, "instruction sets").value, "avx2 fma avx512f amx_tile amx_bf16");
  const Examination arm = examine_processor(SystemTree(kunpeng.root()));
  EXPECT_EQ(finding(arm, "processor").value, "HiSilicon implementer 0x48, part 0xd03");
  EXPECT_EQ(finding(arm, "instruction sets").value, "asimd asimddp bf16");
  EXPECT_FALSE(examine_processor(SystemTree(nothing.root())).has_problem());
}

TEST(Tree, LinksStayInsideAndNothingHangs) {
  FakeSystem system;
  system.file("/a/text", "inside").link("/out", "/a").link("/up", "../../../../a").link("/round", "/round");
  ::mkfifo((system.root() / "pipe").c_str(), 0600);
  const SystemTree tree(system.root());
  EXPECT_EQ(tree.read("/out/text"), "inside");
  EXPECT_EQ(tree.read("/up/text"), "inside") << "there is nothing above the root";
  EXPECT_FALSE(tree.read("/round/text"));
  EXPECT_FALSE(tree.read("/pipe")) << "reading it would wait for ever";
  EXPECT_FALSE(tree.read("/a"));
  EXPECT_FALSE(tree.variable("PATH")) << "another system's environment is not ours";
}

TEST(Speed, OfAnOpenDevice) {
  const test::EmulatedNpu npu = test::EmulatedNpu::open();
  Examination seen{.device = "npu"};
  measure(npu.device(), seen);
  EXPECT_EQ(problems(seen), "");
  EXPECT_EQ(finding(seen, "model").value, "Emulated");
  EXPECT_EQ(finding(seen, "AI cores").figure, 1);
  for (const char* each : {"product in float32", "product in bfloat16", "reading memory"}) {
    EXPECT_GT(finding(seen, each).figure.value_or(0), 0) << each;
  }
}

TEST(Report, Json) {
  Examination one{.device = "npu"};
  one.findings = {{.subject = "driver", .state = State::problem, .value = "old", .source = "/x", .advice = "renew"},
                  measured("memory", 64, "GiB", "asked")};
  const nlohmann::json json = one.to_json();
  EXPECT_FALSE(json["healthy"].get<bool>());
  EXPECT_EQ(json["findings"][0]["advice"], "renew");
  EXPECT_EQ(json["findings"][1]["figure"], 64);
  EXPECT_EQ(json["findings"][1]["unit"], "GiB");
}

}  // namespace
}  // namespace glmimage::doctor
