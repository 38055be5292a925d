// Processes of a queue are killed at random moments: nothing is lost, nothing is there twice. GLM_IMAGE_SOAK=1 kills
// 200 times instead of 10.
#include <gmock/gmock.h>
#include <signal.h>

#include <cstdlib>
#include <random>
#include <set>
#include <sstream>
#include <thread>

#include "core/error.h"
#include "serve/fake_painter.h"
#include "serve/store_fixture.h"
#include "support/process.h"

namespace glmimage::serve::test {
namespace {

using glmimage::test::Process;
using glmimage::test::ProcessResult;
using testing::HasSubstr;
using namespace std::chrono_literals;

bool soak() {
  const char* value = std::getenv("GLM_IMAGE_SOAK");
  return value && std::string(value) == "1";
}

class CrashTest : public StoreTest {
 protected:
  glmimage::test::ProcessOptions process(const std::string& what, std::vector<std::string> more = {}) const {
    std::vector<std::string> arguments = {(std::filesystem::path(GLM_IMAGE_BINARY_DIR) / "queue_process").string(),
                                          what, where_, (folder_ / "blobs").string()};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return {.arguments = arguments, .environment = {{"OMP_NUM_THREADS", "1"}}, .input = {}, .folder = {}};
  }
  // The ids of "accepted" lines.
  static void collect(const std::string& text, std::set<std::string>& ids) {
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);) {
      if (line.starts_with("accepted ") && !in.eof()) ids.insert(line.substr(9));
    }
  }
  bool all_done(JobStore& jobs, int64_t count) {
    const auto deadline = std::chrono::steady_clock::now() + 60s;
    while (jobs.counts().jobs[JobState::done] < count) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      std::this_thread::sleep_for(10ms);
    }
    return true;
  }
  void check_pictures(const Job& job) {
    ASSERT_EQ(job.state, JobState::done) << job.id;
    ASSERT_EQ(static_cast<int64_t>(job.pictures.size()), job.request.count);
    for (int64_t i = 0; i < job.request.count; ++i) {
      const JobPicture& picture = job.pictures[static_cast<size_t>(i)];
      EXPECT_EQ(picture.index, i);
      EXPECT_EQ(picture.seed, job.request.seed + static_cast<uint64_t>(i));
      const std::optional<std::string> bytes = blobs_->get(picture.blob);
      ASSERT_TRUE(bytes);
      const Image image = decode_image({reinterpret_cast<const uint8_t*>(bytes->data()), bytes->size()}, "picture");
      EXPECT_EQ(image.pixels, FakePainter::picture(job.request.prompt, picture.seed).pixels);
    }
    EXPECT_TRUE(blobs_->get(job.request.references.at(0)));
  }
};
FOR_BOTH_DATABASES(CrashTest);

TEST_P(CrashTest, KillsLoseNothingAndDoubleNothing) {
  const int kills = soak() ? 200 : 6;
  const int count = 6 * kills;
  const int workers = GetParam() == DatabaseKind::postgres ? 2 : 1;
  std::mt19937 random(20261127);
  std::uniform_int_distribution<int> moment(0, 150), victim(0, workers);
  const auto start = [&](int who) {
    return who == 0 ? std::make_unique<Process>(process("submit", {std::to_string(count)}))
                    : std::make_unique<Process>(process("work", {"2"}));
  };
  std::vector<std::unique_ptr<Process>> running;
  for (int who = 0; who <= workers; ++who) running.push_back(start(who));
  std::set<std::string> accepted;
  for (int i = 0; i < kills; ++i) {
    const int who = victim(random);
    auto& process = running[static_cast<size_t>(who)];
    process->wait_for_error_text(who == 0 ? "accepted" : "working");
    std::this_thread::sleep_for(std::chrono::milliseconds(moment(random)));
    process->send(SIGKILL);
    collect(process->wait().err, accepted);
    process = start(who);
  }
  const ProcessResult last = running[0]->wait();
  ASSERT_EQ(last.exit_code, 0) << last.err;
  collect(last.err, accepted);
  JobStore jobs(*database_);
  ASSERT_TRUE(all_done(jobs, count));

  EXPECT_EQ(accepted.size(), static_cast<size_t>(count));  // each key gave one id, before and after the kills
  std::set<std::string> keys, ids;
  JobFilter filter{.limit = 1000};
  for (bool more = true; more;) {
    const JobPage page = jobs.list(filter);
    for (const Job& job : page.jobs) {
      keys.insert(*job.idempotency_key);
      ids.insert(job.id);
      check_pictures(job);
    }
    filter.before = page.next;
    more = page.next.has_value();
  }
  EXPECT_EQ(ids, accepted);
  EXPECT_EQ(keys.size(), static_cast<size_t>(count));
}

TEST_P(CrashTest, AJobThatKillsThreeTimesIsGivenUp) {
  JobStore jobs(*database_);
  NewJob job = new_job("poison");
  const std::string id = jobs.submit(job).job.id;
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(glmimage::test::run_process(process("die")).signal, SIGKILL);
    jobs.requeue_lost();  // at once: the process is seen to be gone, no lease has to run out
    EXPECT_EQ(jobs.get(id)->state, i < 2 ? JobState::queued : JobState::failed) << i;
  }
  EXPECT_EQ(jobs.get(id)->error->kind, "poison");
}

// RLIMIT_FSIZE plays the full disk.
TEST(DiskFullTest, AFullDiskLosesNothing) {
  const auto folder = glmimage::test::scratch_folder();
  const std::string where = (folder / "queue.sqlite").string(), blobs = (folder / "blobs").string();
  glmimage::test::ProcessOptions options{
      .arguments = {(std::filesystem::path(GLM_IMAGE_BINARY_DIR) / "queue_process").string(), "submit", where, blobs,
                    "2000"},
      .environment = {{"OMP_NUM_THREADS", "1"}},
      .input = {},
      .folder = {},
      .file_size_limit = 2'000'000};
  { Database::open(where); }
  const ProcessResult full = glmimage::test::run_process(options);
  EXPECT_EQ(full.exit_code, 1) << full.err << full.signal;
  EXPECT_THAT(full.err, HasSubstr("full"));
  EXPECT_THAT(full.err, HasSubstr(where));
  const auto database = Database::open(where);
  JobStore jobs(*database);
  int64_t accepted = 0;
  std::istringstream in(full.err);
  for (std::string line; std::getline(in, line);) {
    if (!line.starts_with("accepted ")) continue;
    ++accepted;
    EXPECT_TRUE(jobs.get(line.substr(9))) << line;
  }
  EXPECT_GT(accepted, 10);
  EXPECT_EQ(jobs.counts().jobs[JobState::queued], accepted);
  EXPECT_TRUE(jobs.submit(new_job("after")).ok());
}

}  // namespace
}  // namespace glmimage::serve::test
