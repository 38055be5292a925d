#include <gmock/gmock.h>

#include <map>
#include <mutex>
#include <thread>

#include "core/error.h"
#include "serve/process_identity.h"
#include "serve/store_fixture.h"

namespace glmimage::serve::test {
namespace {

using testing::HasSubstr;
using namespace std::chrono_literals;

class LeaseTest : public StoreTest {
 protected:
  std::string submit(const std::string& prompt, int64_t count = 1) {
    return JobStore(*database_).submit(new_job(prompt, "", count)).job.id;
  }
  JobState state(const std::string& id) { return JobStore(*database_).get(id)->state; }
  // As if the lease had run out.
  void expire(const std::string& id) {
    database_->transaction(Access::write,
                           [&](Connection& c) { c.run("UPDATE leases SET until = $now - 1 WHERE job = $1", {id}); });
  }
};
FOR_BOTH_DATABASES(LeaseTest);

TEST_P(LeaseTest, FirstComeFirstServed) {
  JobStore jobs(*database_);
  std::vector<std::string> ids;
  for (int i = 0; i < 5; ++i) ids.push_back(submit("fox"));
  EXPECT_EQ(jobs.claim("w", 1, 1min).at(0).job.id, ids[0]);
  const std::vector<Claim> more = jobs.claim("w", 3, 1min);
  ASSERT_EQ(more.size(), 3u);
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(more[i].job.id, ids[i + 1]);
  EXPECT_EQ(more[0].job.state, JobState::running);
  EXPECT_EQ(more[0].job.attempts, 1);
  EXPECT_TRUE(more[0].job.started);
  EXPECT_EQ(jobs.claim("w", 3, 1min).size(), 1u);
  EXPECT_TRUE(jobs.claim("w", 3, 1min).empty());
}

TEST_P(LeaseTest, NoJobIsClaimedTwice) {
  constexpr int kJobs = 60;
  for (int i = 0; i < kJobs; ++i) submit("fox");
  std::mutex mutex;
  std::map<std::string, int> claimed;
  {
    std::vector<std::jthread> workers;
    for (int w = 0; w < 6; ++w) {
      workers.emplace_back([&, w] {
        const auto own = Database::open(where_);  // as another machine would
        JobStore jobs(*own);
        while (true) {
          const std::vector<Claim> claims = jobs.claim("w" + std::to_string(w), w % 3 + 1, 1min);
          if (claims.empty() && jobs.counts().jobs[JobState::queued] == 0) return;
          const std::lock_guard lock(mutex);
          for (const Claim& claim : claims) ++claimed[claim.job.id];
        }
      });
    }
  }
  EXPECT_EQ(claimed.size(), static_cast<size_t>(kJobs));
  for (const auto& [id, times] : claimed) EXPECT_EQ(times, 1) << id;
}

TEST_P(LeaseTest, AHeartbeatKeepsTheLeaseAndTellsProgress) {
  JobStore jobs(*database_);
  const std::string id = submit("fox");
  const Lease lease = jobs.claim("w", 1, 1ms).at(0).lease;
  JobProgress progress{.index = 0,
                       .stage = Stage::denoise,
                       .done = 3,
                       .total = 50,
                       .partials = {{.index = 0, .number = 1, .blob = "abc"}}};
  EXPECT_EQ(jobs.heartbeat(lease, progress, 1min), LeaseState::held);
  EXPECT_EQ(jobs.requeue_lost(), 0);
  EXPECT_EQ(jobs.get(id)->progress->to_json(), progress.to_json());
}

TEST_P(LeaseTest, AWorkerThatLostItsLeaseCannotWrite) {
  JobStore jobs(*database_);
  const std::string id = submit("fox");
  const Lease old = jobs.claim("slow", 1, 1min).at(0).lease;
  expire(id);
  const Claim now = jobs.claim("quick", 1, 1min).at(0);  // requeues what is lost, then claims it
  EXPECT_EQ(now.job.id, id);
  EXPECT_EQ(now.job.attempts, 2);
  EXPECT_EQ(jobs.heartbeat(old, {}, 1min), LeaseState::lost);
  EXPECT_FALSE(jobs.add_picture(old, stored_picture(*blobs_, 0, "slow")));
  EXPECT_FALSE(jobs.finish(old));
  EXPECT_FALSE(jobs.fail_job(old, {"internal", "no"}));
  EXPECT_FALSE(jobs.finish_cancelled(old));
  EXPECT_FALSE(jobs.hand_back(old));
  EXPECT_EQ(state(id), JobState::running);
  EXPECT_TRUE(jobs.add_picture(now.lease, stored_picture(*blobs_, 0, "quick")));
  EXPECT_TRUE(jobs.finish(now.lease));
  EXPECT_EQ(blobs_->get(jobs.get(id)->pictures.at(0).blob), "quick");
}

TEST_P(LeaseTest, AnExpiredLeaseThatNobodyTookStillWrites) {
  JobStore jobs(*database_);
  const std::string id = submit("fox");
  const Lease lease = jobs.claim("w", 1, 1min).at(0).lease;
  expire(id);
  EXPECT_TRUE(jobs.add_picture(lease, stored_picture(*blobs_, 0, "late")));
  EXPECT_TRUE(jobs.finish(lease));
}

TEST_P(LeaseTest, APictureIsAddedOnce) {
  JobStore jobs(*database_);
  const std::string id = submit("fox", 2);
  const Lease lease = jobs.claim("w", 1, 1min).at(0).lease;
  EXPECT_TRUE(jobs.add_picture(lease, stored_picture(*blobs_, 1, "first")));
  EXPECT_TRUE(jobs.add_picture(lease, stored_picture(*blobs_, 1, "second")));
  const Job job = *jobs.get(id);
  ASSERT_EQ(job.pictures.size(), 1u);
  EXPECT_EQ(blobs_->get(job.pictures[0].blob), "first");
  EXPECT_EQ(job.pictures[0].seed, 8u);
  EXPECT_THROW(jobs.finish(lease), Error);  // one of two
  EXPECT_EQ(state(id), JobState::running);
}

TEST_P(LeaseTest, TheLastPictureEndsTheJob) {
  JobStore jobs(*database_);
  const std::string id = submit("fox", 2);
  const Lease lease = jobs.claim("w", 1, 1min).at(0).lease;
  EXPECT_THROW(jobs.finish(lease, stored_picture(*blobs_, 1, "one of two")), Error);
  EXPECT_EQ(state(id), JobState::running);
  EXPECT_TRUE(jobs.get(id)->pictures.empty()) << "all of it or nothing";
  EXPECT_TRUE(jobs.add_picture(lease, stored_picture(*blobs_, 0, "first")));
  EXPECT_TRUE(jobs.finish(lease, stored_picture(*blobs_, 1, "last")));
  EXPECT_EQ(state(id), JobState::done);
  EXPECT_EQ(jobs.get(id)->pictures.size(), 2u);
  EXPECT_FALSE(jobs.finish(lease, stored_picture(*blobs_, 1, "again")));
  EXPECT_EQ(blobs_->get(jobs.get(id)->pictures[1].blob), "last");
}

TEST_P(LeaseTest, PicturesOutliveTheAttempt) {
  JobStore jobs(*database_);
  const std::string id = submit("fox", 2);
  const Lease first = jobs.claim("w", 1, 1min).at(0).lease;
  jobs.add_picture(first, stored_picture(*blobs_, 0, "kept"));
  expire(id);
  const Claim second = jobs.claim("w", 1, 1min).at(0);
  ASSERT_EQ(second.job.pictures.size(), 1u);
  jobs.add_picture(second.lease, stored_picture(*blobs_, 1, "new"));
  EXPECT_TRUE(jobs.finish(second.lease));
  EXPECT_EQ(blobs_->get(jobs.get(id)->pictures[0].blob), "kept");
}

TEST_P(LeaseTest, APoisonedJobIsGivenUp) {
  JobStore jobs(*database_, {.max_attempts = 3});
  const std::string id = submit("poison");
  for (int attempt = 1; attempt <= 3; ++attempt) {
    ASSERT_EQ(jobs.claim("w", 1, 1min).size(), 1u) << attempt;
    expire(id);
  }
  EXPECT_TRUE(jobs.claim("w", 1, 1min).empty());
  const Job job = *jobs.get(id);
  EXPECT_EQ(job.state, JobState::failed);
  EXPECT_EQ(job.error->kind, "poison");
  EXPECT_THAT(job.error->message, HasSubstr("3 times"));
}

TEST_P(LeaseTest, AJobThatWasTriedIsDrawnAlone) {
  JobStore jobs(*database_);
  const std::string suspect = submit("suspect");
  jobs.claim("w", 1, 1min);
  expire(suspect);
  jobs.requeue_lost();
  for (int i = 0; i < 3; ++i) submit("innocent");
  const std::vector<Claim> alone = jobs.claim("w", 4, 1min);
  ASSERT_EQ(alone.size(), 1u);
  EXPECT_EQ(alone[0].job.id, suspect);
  EXPECT_EQ(jobs.claim("w", 4, 1min).size(), 3u);
}

TEST_P(LeaseTest, HandingBackSparesTheAttempt) {
  JobStore jobs(*database_, {.max_attempts = 2});
  const std::string id = submit("fox");
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(jobs.hand_back(jobs.claim("w", 1, 1min).at(0).lease));
  EXPECT_EQ(jobs.get(id)->attempts, 0);
  EXPECT_FALSE(jobs.get(id)->started);
  EXPECT_TRUE(jobs.hand_back(jobs.claim("w", 1, 1min).at(0).lease, Attempt::counted));
  EXPECT_EQ(state(id), JobState::queued);
  EXPECT_TRUE(jobs.hand_back(jobs.claim("w", 1, 1min).at(0).lease, Attempt::counted));
  EXPECT_EQ(state(id), JobState::failed);
}

TEST_P(LeaseTest, ARunningJobIsToldToStop) {
  JobStore jobs(*database_);
  const std::string id = submit("fox");
  const Lease lease = jobs.claim("w", 1, 1min).at(0).lease;
  EXPECT_EQ(jobs.cancel(id), Cancelled::requested);
  EXPECT_TRUE(jobs.get(id)->cancel_requested);
  EXPECT_EQ(jobs.heartbeat(lease, {}, 1min), LeaseState::cancel_requested);
  EXPECT_TRUE(jobs.finish_cancelled(lease));
  EXPECT_EQ(state(id), JobState::cancelled);
}

TEST_P(LeaseTest, ACancelledJobOfALostWorkerIsNotDrawnAgain) {
  JobStore jobs(*database_);
  const std::string id = submit("fox");
  jobs.claim("w", 1, 1min);
  jobs.cancel(id);
  expire(id);
  EXPECT_TRUE(jobs.claim("w", 1, 1min).empty());
  EXPECT_EQ(state(id), JobState::cancelled);
}

TEST_P(LeaseTest, AProcessThatIsGoneLosesItsLeaseAtOnce) {
  JobStore jobs(*database_);
  const std::string alive = submit("alive"), elsewhere = submit("elsewhere"), gone = submit("gone");
  // A process id beyond the largest that Linux gives out.
  std::string identity = process_identity();
  const size_t start = identity.rfind('/'), process = identity.rfind('/', start - 1);
  identity.replace(process + 1, start - process - 1, "4194305");
  jobs.claim(process_identity(), 1, 1h);
  jobs.claim("another-machine/" + identity, 1, 1h);
  jobs.claim(identity, 1, 1h);
  EXPECT_EQ(jobs.requeue_lost(), 1);
  EXPECT_EQ(state(gone), JobState::queued);
  EXPECT_EQ(state(alive), JobState::running);
  EXPECT_EQ(state(elsewhere), JobState::running);
}

// SQLite cannot tell; workers ask.
TEST(PostgresLeaseTest, OtherProcessesAreToldOfNewJobs) {
  auto* server = glmimage::test::PostgresServer::instance();
  if (!server) GTEST_SKIP() << "PostgreSQL is not installed (scripts/bootstrap --dev)";
  const std::string where = server->empty_database();
  const auto here = Database::open(where), there = Database::open(where);
  bool told = false;
  for (int i = 0; i < 50 && !told; ++i) {  // until the listener is there
    const uint64_t seen = there->changes().version();
    JobStore(*here).submit(new_job("fox"));
    told = there->changes().wait(seen, 100ms) != seen;
  }
  EXPECT_TRUE(told);
}

}  // namespace
}  // namespace glmimage::serve::test
