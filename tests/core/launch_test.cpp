#include "core/launch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "support/error_of.h"

namespace glmimage {
namespace {

using test::error_of;
using ::testing::HasSubstr;

using Variables = std::map<std::string, std::string>;

Environment environment(const Variables& variables) {
  return [variables](const char* name) {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  };
}

std::optional<Launch> launch(const Variables& variables) { return launch_from_environment(environment(variables)); }
std::optional<Share> share(const Variables& variables) { return share_from_environment(environment(variables)); }

Variables with(Variables base, const Variables& more) {
  for (const auto& [name, value] : more) base[name] = value;
  return base;
}

const Variables kTorchrun = {{"RANK", "5"},          {"WORLD_SIZE", "16"},
                             {"LOCAL_RANK", "1"},    {"LOCAL_WORLD_SIZE", "4"},
                             {"MASTER_ADDR", "n01"}, {"MASTER_PORT", "29501"}};
const Variables kSrun = {{"SLURM_JOB_ID", "812"},
                         {"SLURM_STEP_ID", "0"},
                         {"SLURM_PROCID", "3"},
                         {"SLURM_NTASKS", "5"},
                         {"SLURM_STEP_NUM_TASKS", "5"},
                         {"SLURM_LOCALID", "1"},
                         {"SLURM_NODEID", "1"},
                         {"SLURM_STEP_TASKS_PER_NODE", "2(x2),1"},
                         {"SLURM_STEP_NODELIST", "node[07-08,11]"}};
const Variables kMpirun = {{"OMPI_COMM_WORLD_RANK", "1"},
                           {"OMPI_COMM_WORLD_SIZE", "2"},
                           {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                           {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"},
                           {"PMIX_NAMESPACE", "2467495937"}};

TEST(Launch, AloneWithoutALauncher) {
  EXPECT_FALSE(launch({}));
  EXPECT_FALSE(launch({{"RANK", ""}, {"WORLD_SIZE", ""}})) << "empty is not set";
  EXPECT_FALSE(launch({{"RANK", "0"}, {"WORLD_SIZE", "1"}}));
  EXPECT_FALSE(launch({{"MASTER_ADDR", "n01"}, {"MASTER_PORT", "1"}}));
}

TEST(Launch, Torchrun) {
  const Launch found = launch(kTorchrun).value();
  EXPECT_EQ(found.rank, 5);
  EXPECT_EQ(found.size, 16);
  EXPECT_EQ(found.local_rank, 1);
  EXPECT_EQ(found.local_size, 4);
  EXPECT_EQ(found.master_address, "n01");
  EXPECT_EQ(found.master_port, 29501);
  EXPECT_EQ(found.source, "torchrun");
}

TEST(Launch, OneProcessAMachineNeedsNoLocalPlace) {
  const Launch found = launch({{"RANK", "1"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "n01"}}).value();
  EXPECT_EQ(found.local_rank, 0);
  EXPECT_EQ(found.local_size, 1);
  EXPECT_EQ(found.master_port, 29500);
  EXPECT_EQ(launch({{"RANK", "1"}, {"WORLD_SIZE", "2"}}).value().master_address, "") << "nobody said";
}

TEST(Launch, Srun) {
  const Launch found = launch(kSrun).value();
  EXPECT_EQ(found.rank, 3);
  EXPECT_EQ(found.size, 5);
  EXPECT_EQ(found.local_rank, 1);
  EXPECT_EQ(found.local_size, 2);
  EXPECT_EQ(found.master_address, "node07");
  EXPECT_GE(found.master_port, 61440);
  EXPECT_LE(found.master_port, 65535);
  EXPECT_EQ(found.source, "Slurm");
  const Variables last = {{"SLURM_PROCID", "4"}, {"SLURM_LOCALID", "0"}, {"SLURM_NODEID", "2"}};
  EXPECT_EQ(launch(with(kSrun, last)).value().local_size, 1);
  EXPECT_EQ(launch(with(kSrun, last)).value().master_port, found.master_port) << "one port for all ranks";
  EXPECT_NE(launch(with(kSrun, {{"SLURM_STEP_ID", "1"}})).value().master_port, found.master_port);
  EXPECT_NE(launch(with(kSrun, {{"SLURM_JOB_ID", "813"}})).value().master_port, found.master_port);
  const Launch chosen = launch(with(kSrun, {{"MASTER_ADDR", "10.0.0.7"}, {"MASTER_PORT", "4000"}})).value();
  EXPECT_EQ(chosen.master_address, "10.0.0.7");
  EXPECT_EQ(chosen.master_port, 4000);
}

TEST(Launch, SlurmOutsideSrunIsAlone) {
  EXPECT_FALSE(launch({{"SLURM_JOB_ID", "1"}, {"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "8"}})) << "a batch script";
  EXPECT_FALSE(launch({{"SLURM_JOB_ID", "1"}, {"SLURM_NTASKS", "8"}})) << "salloc's shell";
  const Variables interactive = {{"SLURM_PROCID", "0"},
                                 {"SLURM_STEP_NUM_TASKS", "1"},
                                 {"SLURM_STEP_NODELIST", "n1"},
                                 {"SLURM_NTASKS", "8"},
                                 {"SLURM_STEP_ID", "4294967290"}};
  EXPECT_FALSE(launch(interactive)) << "an interactive step of a larger allocation";
}

TEST(Launch, Mpirun) {
  const Launch found = launch(kMpirun).value();
  EXPECT_EQ(found.rank, 1);
  EXPECT_EQ(found.size, 2);
  EXPECT_EQ(found.local_rank, 1);
  EXPECT_EQ(found.master_address, "127.0.0.1");
  EXPECT_GE(found.master_port, 61440);
  EXPECT_EQ(found.source, "Open MPI");
  EXPECT_EQ(launch(with(kMpirun, {{"OMPI_COMM_WORLD_SIZE", "4"}})).value().master_address, "") << "several machines";
}

TEST(Launch, Mpich) {
  const Launch found =
      launch({{"PMI_RANK", "2"}, {"PMI_SIZE", "3"}, {"MPI_LOCALRANKID", "2"}, {"MPI_LOCALNRANKS", "3"}}).value();
  EXPECT_EQ(found.rank, 2);
  EXPECT_EQ(found.size, 3);
  EXPECT_EQ(found.local_rank, 2);
  EXPECT_EQ(found.source, "MPI (PMI)");
}

TEST(Launch, TheInnerLauncherWins) {
  EXPECT_EQ(launch(with(kSrun, kMpirun)).value().source, "Open MPI");
  EXPECT_EQ(launch(with(kSrun, with(kTorchrun, {{"TORCHELASTIC_RUN_ID", "none"}}))).value().size, 16);
  EXPECT_EQ(launch(with(kMpirun, {{"RANK", "5"}, {"WORLD_SIZE", "8"}})).value().size, 8) << "a loop below mpirun";
  EXPECT_EQ(launch(with(kSrun, {{"WORLD_SIZE", "5"}})).value().source, "Slurm");
}

TEST(Launch, HalfSetIsNamed) {
  const auto message = [](const Variables& variables) {
    return error_of(ErrorKind::usage, [&] { launch(variables); });
  };
  EXPECT_THAT(message({{"RANK", "0"}}), HasSubstr("RANK is set without WORLD_SIZE"));
  EXPECT_THAT(message({{"WORLD_SIZE", "2"}}), HasSubstr("WORLD_SIZE is set without RANK"));
  EXPECT_THAT(message({{"RANK", "0"}, {"WORLD_SIZE", "2"}, {"LOCAL_RANK", "0"}}), HasSubstr("LOCAL_WORLD_SIZE"));
  EXPECT_THAT(message({{"OMPI_COMM_WORLD_RANK", "1"}}), HasSubstr("OMPI_COMM_WORLD_SIZE"));
  EXPECT_THAT(message({{"PMI_SIZE", "2"}}), HasSubstr("PMI_RANK"));
  EXPECT_THAT(message({{"SLURM_PROCID", "1"}, {"SLURM_NTASKS", "2"}}), HasSubstr("SLURM_STEP_NODELIST"));
  EXPECT_THAT(message({{"SLURM_STEP_NODELIST", "n1"}}), HasSubstr("SLURM_PROCID"));
  EXPECT_THAT(message(with(kSrun, {{"SLURM_NODEID", ""}})), HasSubstr("SLURM_NODEID"));
  EXPECT_THAT(message(with(kSrun, {{"SLURM_LOCALID", ""}})), HasSubstr("SLURM_LOCALID"));
}

TEST(Launch, ContradictionsAreNamed) {
  const auto message = [](const Variables& variables) {
    return error_of(ErrorKind::usage, [&] { launch(variables); });
  };
  EXPECT_THAT(message({{"RANK", "2"}, {"WORLD_SIZE", "2"}}), HasSubstr("RANK=2 is not below WORLD_SIZE=2"));
  EXPECT_THAT(message(with(kTorchrun, {{"LOCAL_WORLD_SIZE", "17"}})), HasSubstr("LOCAL_WORLD_SIZE=17"));
  EXPECT_THAT(message(with(kMpirun, {{"RANK", "0"}, {"WORLD_SIZE", "1"}})), HasSubstr("contradict Open MPI"));
  EXPECT_THAT(message(with(kMpirun, {{"RANK", "0"}, {"WORLD_SIZE", "2"}})), HasSubstr("rank 1 of 2"));
  EXPECT_THAT(message(with(kSrun, {{"WORLD_SIZE", "4"}})), HasSubstr("contradicts Slurm"));
  EXPECT_THAT(message(with(kSrun, {{"SLURM_LOCALID", "2"}})), HasSubstr("SLURM_LOCALID=2"));
  EXPECT_THAT(message(with(kSrun, {{"SLURM_NODEID", "3"}})), HasSubstr("SLURM_NODEID"));
}

TEST(Launch, NumbersThatAreNone) {
  const auto message = [](const Variables& variables) {
    return error_of(ErrorKind::usage, [&] { launch(variables); });
  };
  for (const char* bad : {"x", "-1", "1.5", " 1", "1 ", "99999999999999999999", "0x1"}) {
    EXPECT_THAT(message({{"RANK", bad}, {"WORLD_SIZE", "2"}}), HasSubstr("RANK is '")) << bad;
  }
  EXPECT_THAT(message({{"RANK", "0"}, {"WORLD_SIZE", "0"}}), HasSubstr("WORLD_SIZE is '0'"));
  EXPECT_THAT(message(with(kTorchrun, {{"MASTER_PORT", "65536"}})), HasSubstr("MASTER_PORT"));
  for (const char* bad : {"2(x", "2(x0)", "2(x1)x", ",", "a", "2(x99999999999999999999)"}) {
    EXPECT_THAT(message(with(kSrun, {{"SLURM_STEP_TASKS_PER_NODE", bad}})), HasSubstr("SLURM_STEP_TASKS_PER_NODE"))
        << bad;
  }
}

TEST(Launch, FirstHost) {
  EXPECT_EQ(first_host("node7"), "node7");
  EXPECT_EQ(first_host("node-a.cluster,node-b"), "node-a.cluster");
  EXPECT_EQ(first_host("node[07-12,15],gpu3"), "node07");
  EXPECT_EQ(first_host("gpu[3,9]"), "gpu3");
  EXPECT_EQ(first_host("r[1-2]n[03-04]-ib"), "r1n03-ib");
  for (const char* bad : {"", ",n1", "n[", "n[]", "n[-2]", "n[a-b]", "n[1-2", "n1;reboot", "n 1", "n\n"}) {
    EXPECT_THAT(error_of(ErrorKind::usage, [&] { first_host(bad); }), HasSubstr("SLURM_STEP_NODELIST")) << bad;
  }
}

Variables array(const char* id, const char* least, const char* most, const char* count, const char* step) {
  return {{"SLURM_ARRAY_TASK_ID", id},
          {"SLURM_ARRAY_TASK_MIN", least},
          {"SLURM_ARRAY_TASK_MAX", most},
          {"SLURM_ARRAY_TASK_COUNT", count},
          {"SLURM_ARRAY_TASK_STEP", step}};
}

TEST(Share, OfALaunch) {
  EXPECT_FALSE(share({}));
  EXPECT_EQ(share(kMpirun).value().index, 1);
  EXPECT_EQ(share(kMpirun).value().count, 2);
  EXPECT_EQ(share(kMpirun).value().source, "Open MPI");
}

TEST(Share, OfASlurmArray) {
  const Share third = share(array("9", "1", "13", "4", "4")).value();
  EXPECT_EQ(third.index, 2);
  EXPECT_EQ(third.count, 4);
  EXPECT_EQ(third.source, "Slurm array");
  EXPECT_EQ(share(array("5", "5", "5", "1", "1")).value().count, 1);
  const Share both = share(with(kSrun, array("2", "0", "3", "4", "1"))).value();
  EXPECT_EQ(both.index, 2 * 5 + 3);
  EXPECT_EQ(both.count, 4 * 5);
}

TEST(Share, ArraysThatDoNotSayThePlace) {
  const auto message = [](const Variables& variables) { return error_of(ErrorKind::usage, [&] { share(variables); }); };
  EXPECT_THAT(message(array("3", "1", "7", "3", "1")), HasSubstr("--share")) << "1,3,7";
  EXPECT_THAT(message(array("2", "1", "9", "3", "4")), HasSubstr("SLURM_ARRAY_TASK_ID=2"));
  EXPECT_THAT(message(array("0", "1", "2", "2", "1")), HasSubstr("SLURM_ARRAY_TASK_ID=0"));
  EXPECT_THAT(message({{"SLURM_ARRAY_TASK_ID", "3"}}), HasSubstr("SLURM_ARRAY_TASK_MIN"));
}

}  // namespace
}  // namespace glmimage
