// Training as its users meet it: killed at any moment, told to stop, on a disk that is full, with flags that disagree.
#include <gmock/gmock.h>
#include <signal.h>

#include <chrono>
#include <fstream>
#include <random>
#include <thread>

#include "core/error.h"
#include "e2e/program.h"

namespace glmimage {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using test::glm_image;
using test::Process;
using test::ProcessOptions;
using test::ProcessResult;
using test::run_process;
using ::testing::HasSubstr;
using Arguments = std::vector<std::string>;

// A few milliseconds a step.
ProcessOptions train(const std::string& stage, const fs::path& out, const Arguments& more) {
  Arguments arguments = {"train", stage, "--preset", "tiny", "--batch", "2", "--threads", "1", "--out", out.string()};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return glm_image(arguments);
}

std::string bytes_of(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  EXPECT_TRUE(in) << file;
  return {std::istreambuf_iterator<char>(in), {}};
}

const char* const kVae = "final/vae/diffusion_pytorch_model.safetensors";

int64_t steps_logged(const fs::path& run) {
  std::ifstream file(run / "metrics.jsonl");
  int64_t count = 0;
  for (std::string line; std::getline(file, line);) count += line.find("\"step\"") != std::string::npos ? 1 : 0;
  return count;
}

// The same command, killed four times at moments nobody chose.
TEST(Train, KilledAtAnyMomentItComesToTheSameWeights) {
  const fs::path folder = test::scratch_folder();
  const ProcessResult straight = run_process(train("vae", folder / "straight", {"--steps", "40"}));
  ASSERT_EQ(straight.exit_code, 0) << straight.err;
  std::mt19937 random(std::random_device{}());  // the seed does not matter: every moment must do
  int killed = 0;
  for (int round = 0;; ++round) {
    ASSERT_LT(round, 60);
    Process process(train("vae", folder / "killed", {"--steps", "40", "--save-every", "10"}));
    if (killed == 0) {  // once when there is a state to go on from, then whenever
      const fs::path state = folder / "killed/state/step-00000010";
      for (int i = 0; i < 60000 && !fs::exists(state); ++i) std::this_thread::sleep_for(milliseconds(1));
      ASSERT_TRUE(fs::exists(state));
    }
    if (killed < 4) {
      ASSERT_TRUE(process.wait_for_error_text("parameters, steps"));
      const double share = killed == 0 ? 0.1 : 0.4;  // of the whole run, at most
      std::this_thread::sleep_for(milliseconds(random() % static_cast<uint32_t>(1000 * share * straight.seconds + 1)));
      process.send(SIGKILL);
    }
    const ProcessResult result = process.wait();
    if (result.exit_code == 0) break;
    ASSERT_EQ(result.signal, SIGKILL) << result.err;
    ++killed;
  }
  EXPECT_GT(killed, 0);
  EXPECT_EQ(bytes_of(folder / "straight" / kVae), bytes_of(folder / "killed" / kVae));
  EXPECT_EQ(bytes_of(folder / "straight/state/step-00000040/weights.safetensors"),
            bytes_of(folder / "killed/state/step-00000040/weights.safetensors"));
  EXPECT_EQ(bytes_of(folder / "straight/state/step-00000040/optimiser.safetensors"),
            bytes_of(folder / "killed/state/step-00000040/optimiser.safetensors"));
  EXPECT_EQ(steps_logged(folder / "killed"), 40);
}

TEST(Train, SavesOnSignalsAndGoesOn) {
  const fs::path run = test::scratch_folder() / "run";
  for (const int signal : {SIGTERM, SIGINT}) {
    Process process(train("vae", run, {"--steps", "100000", "--set", "log_every=1"}));
    ASSERT_TRUE(process.wait_for_error_text("s/step"));
    process.send(signal);
    const ProcessResult result = process.wait();
    EXPECT_EQ(result.exit_code, 0) << result.err;
    EXPECT_THAT(result.err, HasSubstr("the same command goes on"));
  }
  EXPECT_FALSE(fs::exists(run / "final"));
  EXPECT_EQ(test::files_in(run / "state").size(), 2u);
}

// A file size limit stands for a full disk. The last whole state stays, and the run goes on when there is room.
TEST(Train, AFullDiskLeavesTheLastState) {
  const fs::path folder = test::scratch_folder(), run = folder / "run";
  ASSERT_EQ(run_process(train("vae", run, {"--steps", "2"})).exit_code, 0);
  const auto state = test::files_in(run / "state");
  const uint64_t weights = fs::file_size(run / "state/step-00000002/weights.safetensors");
  ProcessOptions full = train("vae", run, {"--steps", "4"});
  full.file_size_limit = weights + 1000;  // the optimiser's file is larger
  expect_failure(
      run_process(full), 1,
      {"the state of step 4 was not saved", "optimiser.safetensors", "the last whole one is", "step-00000002"});
  EXPECT_EQ(test::files_in(run / "state"), state);
  const ProcessResult result = run_process(train("vae", run, {"--steps", "4"}));
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("steps 2 to 4"));
}

// Two processes encode the same pictures into one cache; one is killed at it, the other takes over its share.
TEST(Train, ProcessesShareACacheAlsoWhenOneIsKilled) {
  const fs::path folder = test::scratch_folder(), cache = folder / "cache";
  ASSERT_EQ(run_process(train("tokenizer", folder / "tokenizer", {"--steps", "2"})).exit_code, 0);
  const auto language = [&](const std::string& name, const fs::path& shared) {
    return train("ar", folder / name,
                 {"--tokenizer", (folder / "tokenizer/final").string(), "--data", "synthetic:1500", "--steps", "2",
                  "--set", "cache=" + shared.string()});
  };
  Process first(language("first", cache)), second(language("second", cache));
  ASSERT_TRUE(first.wait_for_error_text("to encode"));
  first.send(SIGKILL);
  first.wait();
  const ProcessResult other = second.wait();
  ASSERT_EQ(other.exit_code, 0) << other.err;
  const ProcessResult again = run_process(language("first", cache));
  ASSERT_EQ(again.exit_code, 0) << again.err;
  EXPECT_EQ(again.err.find("to encode"), std::string::npos) << again.err;  // everything was there
  ASSERT_EQ(run_process(language("alone", folder / "own_cache")).exit_code, 0);
  for (const char* name : {"first", "second"}) {
    EXPECT_EQ(bytes_of(folder / name / "final/vision_language_encoder/model.safetensors"),
              bytes_of(folder / "alone/final/vision_language_encoder/model.safetensors"));
  }
}

// Checkpoints that the reference wrote, of other widths, sharded, in bfloat16: every stage goes on from them, all
// weights and adapters, and what comes of it draws.
TEST(Train, GoesOnFromCheckpointsOfTheReference) {
  for (const std::string name : {"tiny_a", "tiny_b", "tiny_c"}) {
    SCOPED_TRACE(name);
    const fs::path folder = test::scratch_folder(), base = test::checkpoint(name);
    const auto run = [&](const std::string& stage, const std::string& out, const Arguments& more) {
      Arguments arguments = {"--init", base.string(), "--data", "synthetic:40", "--steps", "2", "--set", "held_out=4"};
      arguments.insert(arguments.end(), more.begin(), more.end());
      const ProcessResult result = run_process(train(stage, folder / out, arguments));
      ASSERT_EQ(result.exit_code, 0) << stage << "\n" << result.err;
    };
    for (const char* stage : {"vae", "tokenizer", "dit", "ar"}) run(stage, stage, {});
    for (const char* stage : {"dit", "ar"}) run(stage, concat(stage, "_adapter"), {"--set", "lora.rank=2"});
    const fs::path whole = folder / "whole";
    const ProcessResult assembled =
        run_process(glm_image({"train", "assemble", "--vae", base.string(), "--dit", (folder / "dit/final").string(),
                               "--ar", (folder / "ar/final").string(), "--out", whole.string()}));
    ASSERT_EQ(assembled.exit_code, 0) << assembled.err;
    const auto drawn = [&](const fs::path& model, const std::string& file, const Arguments& more) {
      Arguments arguments = {"--prompt", "a cat",   "--width", "32",      "--height",
                             "32",       "--steps", "2",       "--dtype", "float32"};
      arguments.insert(arguments.end(), more.begin(), more.end());
      const ProcessResult result = run_process(glm_image(test::generate(model.string(), folder / file, arguments)));
      EXPECT_EQ(result.exit_code, 0) << result.err;
      return bytes_of(folder / file);
    };
    const std::string before = drawn(base, "before.png", {});
    EXPECT_NE(drawn(whole, "whole.png", {}), before);
    EXPECT_NE(drawn(base, "adapted.png",
                    {"--lora", (folder / "dit_adapter/final/adapter.safetensors").string(), "--lora",
                     (folder / "ar_adapter/final/adapter.safetensors").string()}),
              before);
  }
}

TEST(Train, RefusesToGoOnWithOtherSettings) {
  const fs::path run = test::scratch_folder() / "run";
  ASSERT_EQ(run_process(train("vae", run, {"--steps", "2"})).exit_code, 0);
  const std::string config = bytes_of(run / "config.json");
  expect_failure(run_process(train("vae", run, {"--steps", "4", "--seed", "7", "--set", "optimiser.beta2=0.5"})), 2,
                 {"seed (1 -> 7)", "optimiser.beta2 (0.95 -> 0.5)"});
  EXPECT_EQ(bytes_of(run / "config.json"), config);
  EXPECT_EQ(steps_logged(run), 2);
  expect_failure(run_process(train("tokenizer", run, {"--steps", "4"})), 3, {"another stage's run"});
  expect_failure(run_process(train("vae", run, {"--steps", "1"})), 2, {"has done 2 steps", "--steps 1"});
}

TEST(Train, ReadsAConfigThatARunWrote) {
  const fs::path folder = test::scratch_folder();
  ASSERT_EQ(run_process(train("vae", folder / "a", {"--steps", "2", "--seed", "9", "--set", "accumulate=2"})).exit_code,
            0);
  const auto config = nlohmann::json::parse(bytes_of(folder / "a/config.json"));
  EXPECT_EQ(config["accumulate"], 2);
  EXPECT_EQ(config["seed"], 9);
  EXPECT_EQ(config["stage"], "vae");
  const ProcessResult again = run_process(glm_image({"train", "vae", "--threads", "1", "--out", (folder / "b").string(),
                                                     "--config", (folder / "a/config.json").string()}));
  ASSERT_EQ(again.exit_code, 0) << again.err;
  EXPECT_EQ(bytes_of(folder / "a" / kVae), bytes_of(folder / "b" / kVae));
}

TEST(Train, RefusesFlagsThatDisagree) {
  const fs::path folder = test::scratch_folder(), run = folder / "run";
  const auto refused = [&](const std::string& stage, const Arguments& more, const Arguments& fragments) {
    expect_failure(run_process(train(stage, run, more)), 2, fragments);
  };
  refused("vae", {"--steps", "4", "--set", "steps=5"}, {"--set steps=5", "--steps 4", "contradict"});
  refused("vae", {"--set", "seed=4", "--set", "seed=5"}, {"--set seed=4", "--set seed=5"});
  refused("vae", {"--steps", "many"}, {"--steps many", "whole number"});
  refused("vae", {"--set", "learning_rat=1"}, {"learning_rate"});
  refused("vae", {"--set", "recompute=true"}, {"recompute"});
  refused("vae", {"--tokenizer", "x"}, {"vae", "--tokenizer"});
  refused("vae", {"--resume", "no/such/run"}, {"--resume no/such/run"});
  fs::create_directories(folder / "other");
  refused("vae", {"--resume", (folder / "other").string()}, {"no saved state"});
  refused("assemble", {}, {"does not read --batch"});
  // Settings of other stages.
  refused("ar", {"--set", "dit.drop=0.5"}, {"'dit.drop' is 0.5", "stage ar does not read it"});
  refused("vae", {"--set", "cache=encoded"}, {"'cache' is \"encoded\"", "stage vae does not read it"});
  refused("tokenizer", {"--set", "lora.rank=4"}, {"lora.rank is 4", "has no adapters"});
  // Data and checkpoints that are not there, or hold nothing of use.
  refused("vae", {"--data", (folder / "nowhere").string()}, {"nowhere"});
  refused("vae", {"--data", (folder / "other").string()}, {"other"});
  expect_failure(run_process(train("vae", run, {"--init", (folder / "other").string()})), 3, {"other/vae"});
  std::ofstream(folder / "dit.json") << R"({"stage": "dit"})";
  refused("vae", {"--config", (folder / "dit.json").string()}, {"is for stage \"dit\""});
  expect_failure(run_process(glm_image({"train", "vae"})), 2, {"--out"});
  expect_failure(run_process(glm_image({"train"})), 2, {"which stage"});
  EXPECT_FALSE(fs::exists(run / "state"));
}

TEST(Train, ListsItsSettings) {
  const ProcessResult result = run_process(glm_image({"train", "ar", "--list-settings"}));
  EXPECT_EQ(result.exit_code, 0) << result.err;
  for (const char* name : {"learning_rate", "0.002", "optimiser.beta2", "data_config.areas", "lora.rank"}) {
    EXPECT_THAT(result.out, HasSubstr(name));
  }
}

}  // namespace
}  // namespace glmimage
