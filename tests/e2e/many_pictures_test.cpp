// Pictures by the thousand: shares and manifests of the real program, killed, at the same time, and below mpirun.
#include <gmock/gmock.h>
#include <signal.h>

#include <chrono>
#include <fstream>
#include <iterator>
#include <map>
#include <thread>

#include "core/sha256.h"
#include "e2e/program.h"

namespace glmimage {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using test::glm_image;
using test::ProcessOptions;
using test::ProcessResult;
using test::run_process;
using ::testing::HasSubstr;
using Arguments = std::vector<std::string>;

std::string content(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

struct List {
  fs::path folder = test::scratch_folder();
  int64_t count;

  explicit List(int64_t prompts) : count(prompts) {
    fs::create_directory(folder / "out");
    std::ofstream file(folder / "prompts.txt");
    for (int64_t i = 1; i <= prompts; ++i) file << "picture number " << i << "\n";
  }
  fs::path manifest() const { return folder / "out" / "manifest.jsonl"; }
  ProcessOptions call(const Arguments& more = {}) const {
    Arguments arguments =
        test::generate(test::checkpoint("tiny_a"), folder / "out" / "a.png",
                       {"--prompt-file", (folder / "prompts.txt").string(), "--manifest", manifest().string(),
                        "--width", "32", "--height", "32", "--steps", "1", "--seed", "5"});
    arguments.insert(arguments.end(), more.begin(), more.end());
    ProcessOptions options = glm_image(arguments);
    for (const char* name : {"SLURM_ARRAY_TASK_ID", "SLURM_PROCID", "RANK", "WORLD_SIZE"})
      options.environment[name] = "";
    return options;
  }
  json run(const Arguments& more = {}) const {
    Arguments arguments = more;
    arguments.push_back("--json");
    const ProcessResult result = run_process(call(arguments));
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result.exit_code == 0 ? json::parse(result.out) : json();
  }
  // The manifest's entries by number; each picture must have one, and be the file it says.
  std::map<int64_t, json> check() const {
    std::map<int64_t, json> entries;
    std::istringstream lines(content(manifest()));
    for (std::string line; std::getline(lines, line);) {
      const json value = json::parse(line, nullptr, false);
      if (value.is_discarded() || value.contains("glm_image_manifest")) continue;
      EXPECT_TRUE(entries.emplace(value["number"].get<int64_t>(), value).second) << "twice: " << line;
    }
    EXPECT_EQ(static_cast<int64_t>(entries.size()), count);
    for (const auto& [number, entry] : entries) {
      const std::string bytes = content(folder / "out" / entry["file"].get<std::string>());
      EXPECT_EQ(entry["prompt"], "picture number " + std::to_string(number));
      EXPECT_EQ(entry["seed"], 5);
      EXPECT_EQ(entry["bytes"], bytes.size());
      EXPECT_EQ(entry["sha256"], sha256_hex(bytes));
      EXPECT_GE(entry["seconds"], 0.0);
    }
    for (const std::string& name : test::files_in(folder / "out")) EXPECT_FALSE(name.ends_with(".part")) << name;
    return entries;
  }
  int64_t lines() const {
    const std::string text = content(manifest());
    return std::count(text.begin(), text.end(), '\n');
  }
};

TEST(ManyPictures, AFinishedListIsNotDrawnAgain) {
  const List list(3);
  EXPECT_EQ(list.run()["pictures"].size(), 3u);
  list.check();
  const std::string before = content(list.manifest());
  const ProcessResult again = run_process(list.call());
  EXPECT_EQ(again.exit_code, 0);
  EXPECT_EQ(again.out, "");
  EXPECT_THAT(again.err, HasSubstr("3 of them are drawn already"));
  EXPECT_EQ(again.err.find("load"), std::string::npos) << "no weights are loaded for nothing: " << again.err;
  EXPECT_EQ(content(list.manifest()), before);

  fs::remove(list.folder / "out/a-2.png");
  const json summary = list.run();
  EXPECT_EQ(summary["manifest"]["already_drawn"], 2);
  ASSERT_EQ(summary["pictures"].size(), 1u);
  EXPECT_EQ(summary["pictures"][0]["prompt"], "picture number 2");
  EXPECT_TRUE(fs::exists(list.folder / "out/a-2.png"));
}

// kill -9 in the middle, a line torn by hand as well, and on with other shares: nothing lost, nothing twice, and every
// picture the one an undisturbed run draws.
TEST(ManyPictures, AKilledRunGoesOnWithOtherShares) {
  const int64_t rounds = std::getenv("GLM_IMAGE_SOAK") ? 40 : 2;
  const List list(8 * rounds);
  for (int64_t round = 0; round < rounds; ++round) {
    const std::string share = round % 2 ? "2/2" : "1/2";
    const int64_t before = list.lines();
    test::Process process(list.call({"--share", share}));
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (list.lines() < before + 3 && std::chrono::steady_clock::now() < deadline) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    process.send(SIGKILL);
    EXPECT_EQ(process.wait().signal, SIGKILL) << "the list is too short, or nothing was drawn";
    if (round == 0) std::ofstream(list.manifest(), std::ios::app) << R"({"number":3,"prompt":"picture nu)";
  }
  EXPECT_LT(list.lines(), 1 + list.count) << "the kill came too late";
  for (const char* share : {"1/3", "2/3", "3/3"}) list.run({"--share", share});
  const std::map<int64_t, json> entries = list.check();

  const List undisturbed(8 * rounds);
  undisturbed.run();
  for (const auto& [number, entry] : undisturbed.check()) {
    EXPECT_EQ(entry["sha256"], entries.at(number)["sha256"]) << number;
  }
}

TEST(ManyPictures, TwoAtOnceShareTheWork) {
  const List list(10);
  test::Process first(list.call({"--json"}));
  test::Process second(list.call({"--json"}));
  const ProcessResult a = first.wait(), b = second.wait();
  ASSERT_EQ(a.exit_code, 0) << a.err;
  ASSERT_EQ(b.exit_code, 0) << b.err;
  list.check();
  EXPECT_EQ(json::parse(a.out)["pictures"].size() + json::parse(b.out)["pictures"].size(), 10u);
}

TEST(ManyPictures, BelowMpirun) {
  if (!fs::exists("/usr/bin/mpirun"))
    GTEST_SKIP() << "no mpirun: apt-get install openmpi-bin (scripts/bootstrap --dev)";
  const List list(5);
  ProcessOptions options = list.call();
  const Arguments launcher = {"/usr/bin/mpirun", "--allow-run-as-root", "--oversubscribe", "-n", "2"};
  options.arguments.insert(options.arguments.begin(), launcher.begin(), launcher.end());
  const ProcessResult result = run_process(options);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("share 1 of 2 (Open MPI): 3 of 5 pictures"));
  EXPECT_THAT(result.err, HasSubstr("share 2 of 2 (Open MPI): 2 of 5 pictures"));
  list.check();
}

TEST(ManyPictures, InASlurmArray) {
  const List list(3);
  ProcessOptions options = list.call({"--json"});
  for (const auto& [name, value] : {std::pair{"ID", "6"}, {"MIN", "4"}, {"MAX", "6"}, {"COUNT", "2"}, {"STEP", "2"}}) {
    options.environment[std::string("SLURM_ARRAY_TASK_") + name] = value;
  }
  const ProcessResult result = run_process(options);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const json summary = json::parse(result.out);
  EXPECT_EQ(summary["share"], (json{{"index", 2}, {"count", 2}, {"source", "Slurm array"}}));
  ASSERT_EQ(summary["pictures"].size(), 1u);
  EXPECT_EQ(summary["pictures"][0]["prompt"], "picture number 2");
}

TEST(ManyPictures, SharesNeedNoManifest) {
  const List list(3);
  ProcessOptions options = glm_image(test::generate(test::checkpoint("tiny_a"), list.folder / "out/a.png",
                                                    {"--prompt-file", (list.folder / "prompts.txt").string(), "--width",
                                                     "32", "--height", "32", "--steps", "1", "--seed", "5"}));
  options.environment["RANK"] = "1";
  options.environment["WORLD_SIZE"] = "2";
  EXPECT_EQ(run_process(options).exit_code, 0);
  EXPECT_THAT(test::files_in(list.folder / "out"), ::testing::ElementsAre("a-2.png"));
}

TEST(ManyPictures, RefusesWhatWouldMixPictures) {
  const List list(2);
  list.run();
  const std::string before = content(list.manifest());
  const auto refused = [&](const Arguments& more, const std::vector<std::string>& fragments) {
    expect_failure(run_process(list.call(more)), 2, fragments);
  };
  refused({"--guidance", "3"}, {"guidance_scale: 1.5 there, 3.0 now", "another manifest"});
  refused({"--count", "2"}, {"picture 2", "another prompt"});
  refused({"--share", "3/2"}, {"--share", "3/2"});
  ProcessOptions half = list.call();
  half.environment["RANK"] = "1";
  expect_failure(run_process(half), 2, {"RANK", "WORLD_SIZE"});
  std::ofstream(list.folder / "prompts.txt") << "something else\n";
  refused({}, {"picture 1", "something else"});
  EXPECT_EQ(content(list.manifest()), before);

  const Arguments seedless =
      test::generate(test::checkpoint("tiny_a"), list.folder / "out/b.png",
                     {"--prompt-file", (list.folder / "prompts.txt").string(), "--share", "1/2"});
  expect_failure(run_process(glm_image(seedless)), 2, {"--seed"});
}

}  // namespace
}  // namespace glmimage
