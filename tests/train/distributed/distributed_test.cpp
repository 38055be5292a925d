// Several processes train what one trains: the same weights, with the memory and the bytes that the formulas say.
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <thread>

#include "train/distributed/ranks.h"
#include "train/distributed/toy.h"
#include "train/distributed/two_machines.h"
#include "train/stage_helpers.h"
#include "train/state/saved_tensors.h"

namespace glmimage::train {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;

const std::vector<std::string> kShardings = {"none", "zero1", "zero2", "zero3"};

bool soak() { return std::getenv("GLM_IMAGE_SOAK") != nullptr; }

// |a - b| / |b| over all weights of two states, as one vector.
double difference(const fs::path& a, const fs::path& b) {
  const SafetensorsFile whole = SafetensorsFile::open(b / "weights.safetensors");
  const SavedTensors other = SavedTensors::open(a, "weights");
  double squared = 0, norm = 0;
  for (const TensorInfo& info : whole.tensors()) {
    const at::Tensor expected = whole.tensor(info.name).to(at::kDouble);
    const at::Tensor got = whole.tensor(info.name).clone();
    other.read({info.name, got, info.shape});
    squared += (got.to(at::kDouble) - expected).square().sum().item<double>();
    norm += expected.square().sum().item<double>();
  }
  return std::sqrt(squared / norm);
}

fs::path newest(const fs::path& run) {
  fs::path last;
  for (const fs::directory_entry& entry : fs::directory_iterator(run / "state")) last = std::max(last, entry.path());
  return last;
}

class DistributedTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    at::set_num_threads(1);
    root_ = fresh_folder("distributed");
    train_vae(run("vae", "vae", 2));
    train_tokenizer(run("tokenizer", "tokenizer", 2));
  }
  // Updates of 4 passes; small steps, so that what rounding makes of gradients that are nothing does not count.
  static StageOptions run(const std::string& stage, const std::string& name, int64_t steps) {
    StageOptions options = tiny_stage(stage, root_ / name, steps);
    options.config.accumulate = 4;
    options.config.optimiser.eps = 1e-6;
    options.config.schedule = Schedule::constant;
    options.config.warmup = 0;
    options.config.held_out = 8;
    options.config.cache = root_ / "cache";
    options.config.distributed.bucket_mib = 0.05;  // several buckets
    if (stage == "dit") options.vae = root_ / "vae/final";
    if (stage == "dit" || stage == "ar") options.tokenizer = root_ / "tokenizer/final";
    return options;
  }
  static StageOptions sharded(const std::string& sharding, const std::string& stage, const std::string& name,
                              int64_t steps) {
    StageOptions options = run(stage, name, steps);
    options.config.fields().set("distributed.sharding=" + sharding);
    return options;
  }
  static json runs(const std::vector<StageOptions>& all) {
    json tasks = {{"timeout", 60}, {"runs", json::array()}};
    for (const StageOptions& each : all) tasks["runs"].push_back(task_of(each));
    return tasks;
  }
  static fs::path root_;
};

fs::path DistributedTest::root_;

TEST(Collectives, GiveWhatTheirNamesSayAndSendTheBytesThatAreCounted) { run_ranks(3, "Collectives", true); }

TEST(SequenceParallelism, GivesTheLossAndTheGradientsOfOneProcess) {
  for (const int ranks : {2, 4}) {
    run_ranks(ranks, "SequencesOfTheTransformer", true);
    run_ranks(ranks, "SequencesOfTheLanguageModel", true);
  }
  run_ranks(4, "Neighbours", true);
}

// Four processes as two groups of two: tokens are shared in a group, passes are dealt out to the groups.
TEST_F(DistributedTest, TrainsLongSequencesAsOneProcessDoes) {
  std::vector<StageOptions> all;
  const std::vector<std::string> shardings = soak() ? kShardings : std::vector<std::string>{"zero2"};
  for (const std::string stage : {"dit", "ar"}) {
    train_stage(run(stage, stage + "-whole", 3));
    for (const std::string& sharding : shardings) {
      all.push_back(sharded(sharding, stage, stage + "-divided-" + sharding, 3));
      all.back().config.distributed.sequence_parallel = 2;
    }
  }
  run_ranks(4, "Train", runs(all));
  for (const std::string stage : {"dit", "ar"}) {
    for (const std::string& sharding : shardings) {
      EXPECT_LE(difference(newest(root_ / (stage + "-divided-" + sharding)), newest(root_ / (stage + "-whole"))), 1e-5)
          << stage << " " << sharding;
    }
  }
}

TEST_F(DistributedTest, RefusesSequencesThatCannotBeDivided) {
  StageOptions alone = run("dit", "alone-divided", 1);
  alone.config.distributed.sequence_parallel = 2;
  EXPECT_THAT(message_of([&] { train_stage(alone); }, ErrorKind::usage), HasSubstr("sequence_parallel=2"));
  TrainConfig config = TrainConfig::of_stage("vae");
  config.distributed.sequence_parallel = 2;
  EXPECT_THAT(message_of([&] { config.check(); }, ErrorKind::usage), HasSubstr("stage vae"));
}

TEST_F(DistributedTest, TrainsWhatOneProcessTrains) {
  const int64_t steps = soak() ? 50 : 3;
  const std::vector<std::string> stages = {"dit", "ar"};
  for (const std::string& stage : stages) {
    train_stage(run(stage, stage + "-1", steps));
    // The measure sees what it is to see: a process whose passes did not count.
    StageOptions half = run(stage, stage + "-half", steps);
    half.config.accumulate = 2;
    train_stage(half);
    EXPECT_GT(difference(newest(half.out), newest(root_ / (stage + "-1"))), 1e-4);
  }
  for (int ranks : {2, 4}) {
    std::vector<StageOptions> all;
    const auto name = [&](const std::string& stage, const std::string& sharding) {
      return concat(stage, "-", ranks, "-", sharding);
    };
    for (const std::string& stage : stages) {
      for (const std::string& sharding : kShardings) {
        all.push_back(sharded(sharding, stage, name(stage, sharding), steps));
      }
    }
    run_ranks(ranks, "Train", runs(all));
    for (const std::string& stage : stages) {
      const std::vector<double> losses = metrics(root_ / (stage + "-1"), "loss");
      for (const std::string& sharding : kShardings) {
        SCOPED_TRACE(name(stage, sharding));
        const fs::path folder = root_ / name(stage, sharding);
        const double relative = difference(newest(folder), newest(root_ / (stage + "-1")));
        EXPECT_LE(relative, 1e-5);
        const std::vector<double> others = metrics(folder, "loss");
        ASSERT_EQ(others.size(), losses.size());
        for (size_t i = 0; i < losses.size(); ++i) EXPECT_NEAR(others[i], losses[i], 1e-4 * std::abs(losses[i]));
        const json told = metrics_of(folder)[0];
        const double counted = told["memory"]["all"], formula = told["memory_by_formula"]["all"];
        const int64_t sent = told["bytes_sent"], predicted = told["bytes_sent_by_formula"];
        EXPECT_NEAR(counted / formula, 1, 0.02) << told;
        EXPECT_EQ(sent, predicted) << told;
        EXPECT_GT(metrics(folder, "overlap").back(), 0.6);
        std::printf("%-12s differs by %.1e; memory %.0f, by formula %.0f; sends %lld a step, by formula %lld\n",
                    name(stage, sharding).c_str(), relative, counted, formula, static_cast<long long>(sent),
                    static_cast<long long>(predicted));
      }
    }
  }
}

// Stages with a state beside their weights, and losses that begin later.
TEST_F(DistributedTest, KeepsTheCodesHistoryAndTheDiscriminator) {
  const std::vector<std::string> shardings = soak() ? kShardings : std::vector<std::string>{"none", "zero3"};
  std::vector<StageOptions> all;
  const auto variants = [&](const std::string& stage, const std::function<void(StageOptions&)>& change) {
    StageOptions alone = run(stage, stage + "-state-1", 4);
    change(alone);
    train_stage(alone);
    for (const std::string& sharding : shardings) {
      all.push_back(sharded(sharding, stage, stage + "-state-" + sharding, 4));
      change(all.back());
    }
  };
  variants("tokenizer", [](StageOptions& options) { options.config.tokenizer.soft_share = 0.5; });
  variants("vae", [](StageOptions& options) {
    options.config.vae.adversarial = 0.5;
    options.config.vae.adversarial_from = 2;
  });
  run_ranks(2, "Train", runs(all));
  for (const std::string stage : {"tokenizer", "vae"}) {
    for (const std::string& sharding : shardings) {
      EXPECT_LE(difference(newest(root_ / (stage + "-state-" + sharding)), newest(root_ / (stage + "-state-1"))), 1e-5)
          << stage << " " << sharding;
    }
    EXPECT_EQ(metrics(root_ / (stage + "-state-none"), "loss").size(), 4U);
  }
}

// The other ways through a stage: blocks computed again, bfloat16, pictures drawn on the way, adapters.
TEST_F(DistributedTest, TheOtherWaysThroughAStage) {
  const std::vector<std::string> shardings = soak() ? kShardings : std::vector<std::string>{"none", "zero3"};
  train_stage(run("dit", "base", 1));
  const std::map<std::string, std::function<void(StageOptions&)>> ways = {
      {"recompute",
       [](StageOptions& options) {
         options.config.recompute = true;
         options.config.precision = Precision::bfloat16;
         options.config.sample_every = options.config.held_out_every = 1;
       }},
      {"adapter", [](StageOptions& options) {
         options.init = root_ / "base/final";
         options.config.lora.rank = 2;
       }}};
  std::vector<StageOptions> all;
  for (const auto& [name, change] : ways) {
    StageOptions alone = run("dit", name + "-1", 2);
    change(alone);
    train_stage(alone);
    for (const std::string& sharding : shardings) {
      all.push_back(sharded(sharding, "dit", name + "-" + sharding, 2));
      change(all.back());
    }
  }
  run_ranks(2, "Train", runs(all));
  for (const auto& [name, change] : ways) {
    for (const std::string& sharding : shardings) {
      EXPECT_LE(difference(newest(root_ / (name + "-" + sharding)), newest(root_ / (name + "-1"))), 1e-5)
          << name << " " << sharding;
    }
  }
  for (const std::string& sharding : shardings) {
    EXPECT_TRUE(fs::exists(root_ / ("recompute-" + sharding) / "samples/step-00000001-held_out.png")) << sharding;
    EXPECT_TRUE(fs::exists(root_ / ("recompute-" + sharding) / "final/transformer/config.json")) << sharding;
    EXPECT_NEAR(metrics(root_ / ("recompute-" + sharding), "held_out_loss").back(),
                metrics(root_ / "recompute-1", "held_out_loss").back(), 1e-3)
        << sharding;
    EXPECT_TRUE(fs::exists(root_ / ("adapter-" + sharding) / "final/adapter.safetensors")) << sharding;
  }
}

// Gradients that come on some ranks, late, twice or never, and an update that all skip.
TEST_F(DistributedTest, GradientsThatComeWhenTheyLike) {
  const auto toy = [](const std::string& sharding, const std::string& name) {
    StageOptions options = sharded(sharding, "vae", name, 8);
    options.config.accumulate = 2;
    options.config.learning_rate = 0.05;
    options.config.optimiser.max_grad_norm = 0.01;  // clipped every time
    options.config.distributed.bucket_mib = 0.001;
    return options;
  };
  train_toy(toy("none", "toy-1"));
  json tasks = runs({});
  tasks["toy"] = true;
  for (const std::string& sharding : kShardings) tasks["runs"].push_back(task_of(toy(sharding, "toy-" + sharding)));
  run_ranks(2, "Train", tasks);
  for (const std::string& sharding : kShardings) {
    const fs::path folder = root_ / ("toy-" + sharding);
    EXPECT_LE(difference(newest(folder), newest(root_ / "toy-1")), 1e-6) << sharding;
    EXPECT_EQ(metrics(folder, "skipped").back(), 1) << sharding;
    EXPECT_EQ(metrics(folder, "number"), metrics(root_ / "toy-1", "number")) << sharding;
  }
}

// A state of any number of processes is gone on from by any other, and by as many to the bit.
TEST_F(DistributedTest, SavedStatesAreCutAnew) {
  train_stage(run("ar", "straight-1", 4));
  const auto half = [](const std::string& sharding, const std::string& name) {
    return sharded(sharding, "ar", name, 2);
  };
  run_ranks(2, "Train",
            runs({half("zero2", "from-2"), half("zero3", "from-2-zero3"), sharded("zero2", "ar", "straight-2", 4)}));
  train_stage(half("none", "from-1"));
  const auto copy = [](const std::string& from, const std::string& to) {
    fs::copy(root_ / from, root_ / to, fs::copy_options::recursive);
  };
  for (const std::string to : {"2-to-2", "2-to-4", "2-to-1"}) copy("from-2", to);
  for (const std::string to : {"3-to-1", "3-to-2"}) copy("from-2-zero3", to);
  for (const std::string to : {"1-to-2", "1-to-4"}) copy("from-1", to);
  for (const std::string alone : {"2-to-1", "3-to-1"}) train_stage(run("ar", alone, 4));
  run_ranks(2, "Train",
            runs({sharded("zero2", "ar", "2-to-2", 4), sharded("zero1", "ar", "3-to-2", 4),
                  sharded("zero3", "ar", "1-to-2", 4)}));
  run_ranks(4, "Train", runs({sharded("zero3", "ar", "2-to-4", 4), sharded("none", "ar", "1-to-4", 4)}));
  for (const std::string name : {"2-to-1", "3-to-1", "2-to-2", "3-to-2", "1-to-2", "2-to-4", "1-to-4"}) {
    EXPECT_LE(difference(newest(root_ / name), newest(root_ / "straight-1")), 1e-5) << name;
    EXPECT_EQ(metrics(root_ / name, "loss").size(), 4U) << name;
  }
  for (const char* rank : {"00000", "00001"}) {
    for (const char* kind : {"weights", "optimiser", "ema"}) {
      const std::string file = concat(kind, "-", rank, "-of-00002.safetensors");
      EXPECT_EQ(first_difference(newest(root_ / "2-to-2") / file, newest(root_ / "straight-2") / file), "") << file;
    }
  }
}

TEST_F(DistributedTest, BrokenPiecesAreRefused) {
  run_ranks(2, "Train", runs({sharded("zero1", "vae", "broken", 1)}));
  const fs::path state = newest(root_ / "broken"), index = state / "pieces.json";
  const std::string name = SafetensorsFile::open(state / "weights-00000-of-00002.safetensors").tensors()[0].name;
  const auto good = json::parse(std::ifstream(index));
  const auto refused = [&](const std::function<void(json&)>& change) {
    json bad = good;
    change(bad);
    std::ofstream(index) << bad;
    return message_of([&] { SavedTensors::open(state, "weights"); }, ErrorKind::checkpoint);
  };
  EXPECT_THAT(refused([](json& bad) { bad["ranks"] = 3; }), HasSubstr("00003"));
  EXPECT_THAT(refused([](json& bad) { bad["ranks"] = int64_t{1} << 30; }), HasSubstr("ranks"));
  EXPECT_THAT(refused([](json& bad) { bad["ranks"] = "two"; }), HasSubstr("ranks"));
  EXPECT_THAT(refused([](json& bad) { bad.erase("weights"); }), HasSubstr("weights"));
  EXPECT_THAT(refused([&](json& bad) { bad["weights"][name]["pieces"] = json::array(); }),
              HasSubstr("end at element 0"));
  EXPECT_THAT(refused([&](json& bad) { bad["weights"][name]["pieces"][0] = {7, 0, 1}; }), HasSubstr("[7,0,1]"));
  EXPECT_THAT(refused([&](json& bad) { bad["weights"][name]["pieces"][0] = {0, -1, 1}; }), HasSubstr("-1"));
  EXPECT_THAT(refused([&](json& bad) {
                bad["weights"][name]["shape"] = {1, int64_t{1} << 40};
              }),
              HasSubstr("of 1099511627776"));
  EXPECT_THAT(refused([&](json& bad) {
                bad["weights"]["nobody's"] = {{"shape", {1}}, {"pieces", {{0, 0, 1}}}};
              }),
              HasSubstr("nobody's"));
  EXPECT_THAT(refused([&](json& bad) { bad["weights"][name] = 7; }), HasSubstr(name));
  std::ofstream(index) << good;
  const SavedTensors saved = SavedTensors::open(state, "weights");
  EXPECT_THAT(message_of(
                  [&] {
                    saved.read({name, at::Tensor(), {1, 2, 3}});
                  },
                  ErrorKind::checkpoint),
              HasSubstr("[1, 2, 3]"));
  EXPECT_THAT(message_of(
                  [&] {
                    saved.read({"nobody's", at::Tensor(), {}});
                  },
                  ErrorKind::checkpoint),
              HasSubstr("nobody's"));
  fs::remove(state / "weights-00001-of-00002.safetensors");
  EXPECT_THAT(message_of([&] { SavedTensors::open(state, "weights"); }, ErrorKind::checkpoint),
              HasSubstr("weights-00001-of-00002"));
}

// What one rank refuses, all refuse with the same words.
TEST_F(DistributedTest, PassesThatCannotBeSharedAreRefused) {
  StageOptions options = run("vae", "indivisible", 1);
  options.config.accumulate = 1;
  Ranks ranks(2, "Train", runs({options}));
  for (const test::ProcessResult& result : ranks.wait()) {
    EXPECT_EQ(result.exit_code, 1);
    EXPECT_THAT(result.err, HasSubstr("2 processes share the passes of an update, and accumulate is 1: give a multiple "
                                      "of 2, like batch=1 accumulate=2 for updates as large as now"));
  }
}

struct Kill {
  const char *sharding, *stage;
  size_t victim;
  int signal;  // SIGSTOP: it hangs
};

class KilledRank : public DistributedTest, public testing::WithParamInterface<Kill> {};

// kill -9, and a process that hangs: the others end with one line within the time-out, and the run goes on elsewhere.
TEST_P(KilledRank, EndsTheOthersAndIsResumed) {
  const auto [sharding, stage, victim, signal] = GetParam();
  if (signal != SIGSTOP && victim == 1 && !soak()) GTEST_SKIP() << "GLM_IMAGE_SOAK=1 runs it";
  const std::string name = std::string("killed-") + sharding;
  StageOptions options = sharded(sharding, stage, name, 100'000);
  options.config.save_every = 2;
  options.config.log_every = 1;
  json tasks = runs({options});
  const double timeout = 3;
  tasks["timeout"] = timeout;
  Ranks ranks(2, "Train", tasks);
  ASSERT_TRUE(ranks[0].wait_for_error_text(concat(stage, " 5/100000"))) << ranks[0].error_text();
  const int other = 1 - static_cast<int>(victim);
  const auto began = std::chrono::steady_clock::now();
  ranks[static_cast<int>(victim)].send(signal);
  const test::ProcessResult left = ranks[other].wait();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  ranks[static_cast<int>(victim)].send(SIGKILL);
  EXPECT_EQ(left.exit_code, 1) << left.err;
  EXPECT_LT(seconds, timeout + 10);  // of a busy machine
  const size_t at = left.err.find("glm-image: ");
  ASSERT_NE(at, std::string::npos) << left.err;
  const std::string line = left.err.substr(at);
  EXPECT_THAT(line, HasSubstr(concat("glm-image: rank ", other, " of 2 waited in vain for ")));
  EXPECT_EQ(line.find('\n') + 1, line.size()) << line;  // one line, the last
  std::printf("%s: rank %d ended %.1f s after signal %d reached rank %zu: %s", name.c_str(), other, seconds, signal,
              victim, line.c_str());

  // From the last whole state, by one process: the losses that an undisturbed run has.
  const int64_t from = std::stoll(newest(root_ / name).filename().string().substr(5));
  StageOptions on = run(stage, name, from + 2), straight = run(stage, name + "-straight", from + 2);
  train_stage(on);
  train_stage(straight);
  const std::vector<double> losses = metrics(root_ / name, "loss"), expected = metrics(straight.out, "loss");
  ASSERT_EQ(losses.size(), expected.size());
  for (size_t i = 0; i < losses.size(); ++i) EXPECT_NEAR(losses[i], expected[i], 1e-4 * std::abs(expected[i])) << i;
}

INSTANTIATE_TEST_SUITE_P(Distributed, KilledRank,
                         testing::Values(Kill{"none", "vae", 1, SIGSTOP}, Kill{"zero2", "vae", 0, SIGKILL},
                                         Kill{"zero3", "ar", 1, SIGKILL}),
                         [](const auto& info) { return std::string(info.param.sharding); });

// A launcher of Debian's, where it is installed.
TEST_F(DistributedTest, MpirunStartsRanks) {
  if (std::system("mpirun --version > /dev/null 2>&1") != 0) GTEST_SKIP() << "mpirun is not installed (openmpi-bin)";
  const json tasks = runs({sharded("zero2", "vae", "mpirun", 1)});
  test::ProcessOptions options =
      worker("Train", tasks, {"/usr/bin/mpirun", "--allow-run-as-root", "--oversubscribe", "-n", "2"});
  options.environment["MASTER_PORT"] = std::to_string(free_port());
  options.environment["MASTER_ADDR"] = "127.0.0.1";
  const test::ProcessResult result = test::run_process(options);
  EXPECT_EQ(result.exit_code, 0) << result.out << result.err;
  EXPECT_TRUE(fs::exists(newest(root_ / "mpirun") / "weights-00001-of-00002.safetensors"));
}

// Two machines with a slow link between them that loses packets. In make soak; needs root.
TEST_F(DistributedTest, TwoMachinesOverALinkThatLosesPackets) {
  if (!soak()) GTEST_SKIP() << "GLM_IMAGE_SOAK=1 runs it";
  if (!test::TwoMachines::permitted()) GTEST_SKIP() << "ip netns or /dev/net/tun is not permitted here";
  const test::TwoMachines machines({.delay = std::chrono::milliseconds(5), .loss = 0.01});
  train_stage(run("dit", "machines-1", 10));
  std::vector<StageOptions> all;
  for (const std::string& sharding : kShardings) all.push_back(sharded(sharding, "dit", "machines-" + sharding, 10));
  std::vector<std::unique_ptr<test::Process>> processes;
  for (size_t rank = 0; rank < 2; ++rank) {
    test::ProcessOptions options = worker("Train", runs(all), {"/usr/sbin/ip", "netns", "exec", machines.name(rank)});
    const std::map<std::string, std::string> place = {{"RANK", std::to_string(rank)},
                                                      {"LOCAL_RANK", "0"},
                                                      {"WORLD_SIZE", "2"},
                                                      {"LOCAL_WORLD_SIZE", "1"},
                                                      {"MASTER_ADDR", test::TwoMachines::address(0)},
                                                      {"MASTER_PORT", "29500"}};
    options.environment.insert(place.begin(), place.end());
    processes.push_back(std::make_unique<test::Process>(options));
  }
  for (auto& process : processes) {
    const test::ProcessResult result = process->wait();
    EXPECT_EQ(result.exit_code, 0) << result.out << result.err;
  }
  EXPECT_GT(machines.packets(), 1000);
  EXPECT_GT(machines.lost(), 0);
  for (const std::string& sharding : kShardings) {
    EXPECT_LE(difference(newest(root_ / ("machines-" + sharding)), newest(root_ / "machines-1")), 1e-5) << sharding;
    std::printf("two machines, %s: %.3f s a step\n", sharding.c_str(),
                metrics(root_ / ("machines-" + sharding), "seconds").back() / 10);
  }
  std::printf("%lld packets, %lld lost\n", static_cast<long long>(machines.packets()),
              static_cast<long long>(machines.lost()));
}

// The variables that srun sets (there is no Slurm here): the host list of one machine.
TEST_F(DistributedTest, SlurmsVariablesAreUnderstood) {
  const json tasks = runs({sharded("zero1", "vae", "slurm", 1)});
  std::vector<std::unique_ptr<test::Process>> processes;
  for (const std::string rank : {"0", "1"}) {
    test::ProcessOptions options = worker("Train", tasks);
    const std::map<std::string, std::string> place = {{"SLURM_PROCID", rank},
                                                      {"SLURM_LOCALID", rank},
                                                      {"SLURM_NTASKS", "2"},
                                                      {"SLURM_STEP_NUM_TASKS", "2"},
                                                      {"SLURM_STEP_TASKS_PER_NODE", "2"},
                                                      {"SLURM_NTASKS_PER_NODE", "2"},
                                                      {"SLURM_STEP_NODELIST", "localhost"},
                                                      {"SLURM_STEP_NUM_NODES", "1"},
                                                      {"SLURM_NNODES", "1"},
                                                      {"SLURM_JOB_ID", std::to_string(::getpid())},
                                                      {"SLURM_STEP_ID", "0"}};
    options.environment.insert(place.begin(), place.end());
    processes.push_back(std::make_unique<test::Process>(options));
  }
  for (auto& process : processes) {
    const test::ProcessResult result = process->wait();
    EXPECT_EQ(result.exit_code, 0) << result.out << result.err;
  }
  EXPECT_TRUE(fs::exists(newest(root_ / "slurm") / "pieces.json"));
}

}  // namespace
}  // namespace glmimage::train
