#include <gmock/gmock.h>

#include <set>
#include <thread>

#include "core/error.h"
#include "serve/store_fixture.h"

namespace glmimage::serve::test {
namespace {

using testing::HasSubstr;
using Outcome = Submission::Outcome;
using namespace std::chrono_literals;

class JobStoreTest : public StoreTest {
 protected:
  JobStore store(QueueLimits limits = {}) { return JobStore(*database_, limits); }

  // Submits, claims and ends one job.
  Job drawn(JobStore& jobs, const std::string& prompt, const std::string& bytes = "picture") {
    const Job job = jobs.submit(new_job(prompt)).job;
    const Claim claim = jobs.claim("w", 1, 1min).at(0);
    EXPECT_EQ(claim.job.id, job.id);
    EXPECT_TRUE(jobs.add_picture(claim.lease, stored_picture(*blobs_, 0, bytes)));
    EXPECT_TRUE(jobs.finish(claim.lease));
    return *jobs.get(job.id);
  }
};
FOR_BOTH_DATABASES(JobStoreTest);

TEST_P(JobStoreTest, KeepsEveryFieldOfARequest) {
  JobStore jobs = store();
  NewJob job = new_job("一只狐狸 \"OPEN\" 🦊\n第二行", "key_1", 3);
  JobRequest& r = job.request;
  r.references = {blobs_->put("one"), blobs_->put("two"), blobs_->put("one")};
  r.width = 1472;
  r.height = 1088;
  r.steps = 30;
  r.guidance_scale = 2.25;
  r.seed = UINT64_MAX - 1;
  r.temperature = 0.0;
  r.top_p = 0.75;
  r.cache = {.method = CacheMethod::taylor, .interval = 5};
  r.format = "webp";
  r.quality = 80;
  r.partial_images = 2;
  r.extra = {{"user", "u"}, {"nested", {1, 2, nullptr}}};
  job.idempotency_key = "once";
  job.body_hash = "h";
  const Submission made = jobs.submit(job);
  ASSERT_EQ(made.outcome, Outcome::accepted) << made.message;
  const Job found = *jobs.get(made.job.id);
  EXPECT_EQ(found.request.to_json(), r.to_json());
  EXPECT_EQ(found.request.seed, UINT64_MAX - 1);
  EXPECT_EQ(found.kind, "generation");
  EXPECT_EQ(found.owner, "key_1");
  EXPECT_EQ(found.idempotency_key, "once");
  EXPECT_EQ(found.state, JobState::queued);
  EXPECT_FALSE(found.started || found.finished || found.error || found.progress);
  const auto age = std::chrono::system_clock::now() - found.created;
  EXPECT_LT(age, 1min);
  EXPECT_GT(age, -1min);
}

TEST_P(JobStoreTest, TellsPlacesInTheQueueInTheOrderOfClaims) {
  JobStore jobs = store();
  std::vector<Job> waiting;
  for (const char* owner : {"", "key_1", "key_2"}) waiting.push_back(jobs.submit(new_job("a fox", owner)).job);
  for (size_t i = 0; i < waiting.size(); ++i) EXPECT_EQ(jobs.queue_place(waiting[i]), static_cast<int64_t>(i) + 1);
  EXPECT_EQ(jobs.claim("w", 1, 1min).at(0).job.id, waiting[0].id);
  EXPECT_EQ(jobs.queue_place(waiting[1]), 1);
  EXPECT_EQ(jobs.queue_place(waiting[2]), 2);
  jobs.cancel(waiting[1].id);
  EXPECT_EQ(jobs.queue_place(waiting[2]), 1);
}

TEST_P(JobStoreTest, AcceptedJobsAreThereAfterReopening) {
  const std::string id = store().submit(new_job("a fox")).job.id;
  database_ = Database::open(where_);
  EXPECT_EQ(store().get(id)->request.prompt, "a fox");
}

TEST_P(JobStoreTest, OnlyTheOwnerFindsAJob) {
  JobStore jobs = store();
  const std::string id = jobs.submit(new_job("a fox", "me")).job.id;
  EXPECT_TRUE(jobs.get(id, "me"));
  EXPECT_FALSE(jobs.get(id, "you"));
  EXPECT_EQ(jobs.cancel(id, "you"), Cancelled::unknown_job);
  EXPECT_EQ(jobs.remove(id, "you"), Removed::unknown_job);
  EXPECT_FALSE(jobs.get("no such job"));
  EXPECT_FALSE(jobs.get(std::string("zero\0byte", 9)));
  EXPECT_EQ(jobs.get(id)->state, JobState::queued);
}

TEST_P(JobStoreTest, AnIdempotencyKeyIsUsedOnce) {
  JobStore jobs = store();
  NewJob job = new_job("a fox", "me");
  job.idempotency_key = "k";
  job.body_hash = "body";
  const Submission first = jobs.submit(job), again = jobs.submit(job);
  EXPECT_EQ(first.outcome, Outcome::accepted);
  EXPECT_EQ(again.outcome, Outcome::repeated);
  EXPECT_EQ(again.job.id, first.job.id);
  job.body_hash = "another body";
  const Submission conflict = jobs.submit(job);
  EXPECT_EQ(conflict.outcome, Outcome::conflict);
  EXPECT_THAT(conflict.message, HasSubstr("idempotency key"));
  job.owner = "you";
  EXPECT_EQ(jobs.submit(job).outcome, Outcome::accepted);
  EXPECT_EQ(jobs.counts().jobs[JobState::queued], 2);
}

TEST_P(JobStoreTest, AnIdempotencyKeyGivesOneJobUnderConcurrency) {
  NewJob job = new_job("a fox", "me");
  job.idempotency_key = "k";
  job.body_hash = "body";
  std::vector<Submission> answers(8);
  {
    std::vector<std::jthread> clients;
    for (Submission& answer : answers) clients.emplace_back([&] { answer = store().submit(job); });
  }
  std::set<std::string> ids;
  int64_t accepted = 0;
  for (const Submission& answer : answers) {
    ids.insert(answer.job.id);
    accepted += answer.outcome == Outcome::accepted;
  }
  EXPECT_EQ(ids.size(), 1u);
  EXPECT_EQ(accepted, 1);
  EXPECT_EQ(store().counts().jobs[JobState::queued], 1);
}

TEST_P(JobStoreTest, TheQueueIsBoundedUnderConcurrency) {
  std::atomic<int64_t> accepted = 0, busy = 0;
  {
    std::vector<std::jthread> clients;
    for (int i = 0; i < 6; ++i) {
      clients.emplace_back([&] {
        JobStore jobs = store({.max_queued = 7});
        for (int k = 0; k < 4; ++k) {
          const Submission answer = jobs.submit(new_job("a fox"));
          if (answer.outcome == Outcome::busy) {
            ++busy;
            EXPECT_GE(answer.retry_after, 1);
            EXPECT_THAT(answer.message, HasSubstr("full"));
          } else {
            ++accepted;
          }
        }
      });
    }
  }
  EXPECT_EQ(accepted, 7);
  EXPECT_EQ(busy, 17);
}

TEST_P(JobStoreTest, AnOwnerHasALimitedShare) {
  JobStore jobs = store({.max_queued_per_owner = 2});
  EXPECT_TRUE(jobs.submit(new_job("1", "me")).ok());
  EXPECT_TRUE(jobs.submit(new_job("2", "me")).ok());
  EXPECT_EQ(jobs.submit(new_job("3", "me")).outcome, Outcome::busy);
  EXPECT_TRUE(jobs.submit(new_job("3", "you")).ok());
  // A running job leaves the queue, but not the key's share.
  jobs.claim("w", 1, 1min);
  NewJob more = new_job("4", "me");
  more.owner_share = 2;
  EXPECT_EQ(jobs.submit(more).outcome, Outcome::busy);
  more.owner_share = 3;
  EXPECT_TRUE(jobs.submit(more).ok());
}

TEST_P(JobStoreTest, RetryAfterFollowsRecentJobs) {
  JobStore jobs = store();
  EXPECT_EQ(jobs.retry_after(), 1);
  for (int i = 0; i < 3; ++i) drawn(jobs, "a fox");
  database_->transaction(Access::write, [](Connection& c) { c.run("UPDATE jobs SET started = finished - 90000"); });
  EXPECT_NEAR(jobs.counts().mean_seconds, 90, 1e-6);
  EXPECT_EQ(jobs.retry_after(), 90);
  for (const char* worker : {"a", "b"}) {
    jobs.submit(new_job("another"));
    jobs.claim(worker, 1, 1min);
  }
  EXPECT_EQ(jobs.retry_after(), 45);
  EXPECT_EQ(jobs.counts().workers, 2);
}

TEST_P(JobStoreTest, ReferencesHaveToBeStored) {
  JobStore jobs = store();
  NewJob job = new_job("make it night");
  job.request.references = {std::string(64, 'a')};
  EXPECT_EQ(jobs.submit(job).outcome, Outcome::lost_blob);
  EXPECT_EQ(jobs.counts().jobs[JobState::queued], 0);
}

TEST_P(JobStoreTest, TextThatIsNotUtf8IsRefused) {
  JobStore jobs = store();
  try {
    jobs.submit(new_job("\xff\xfe"));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
  }
  EXPECT_EQ(jobs.get(jobs.submit(new_job(std::string("a\0b", 3))).job.id)->request.prompt, std::string("a\0b", 3));
}

TEST_P(JobStoreTest, ListsPagesNewestFirst) {
  JobStore jobs = store();
  std::vector<std::string> ids;
  for (int i = 0; i < 7; ++i) ids.insert(ids.begin(), jobs.submit(new_job("fox " + std::to_string(i), "me")).job.id);
  jobs.submit(new_job("hidden", "you"));
  std::vector<std::string> listed;
  JobFilter filter{.owner = "me", .limit = 3};
  int pages = 0;
  while (true) {
    const JobPage page = jobs.list(filter);
    for (const Job& job : page.jobs) listed.push_back(job.id);
    ++pages;
    if (!page.next) break;
    filter.before = page.next;
  }
  EXPECT_EQ(listed, ids);
  EXPECT_EQ(pages, 3);
  EXPECT_EQ(jobs.list({.limit = 1000}).jobs.size(), 8u);
  EXPECT_THROW(jobs.list({.limit = 0}), Error);
  EXPECT_THROW(jobs.list({.limit = 1001}), Error);
}

TEST_P(JobStoreTest, ListsByStateAndWords) {
  JobStore jobs = store();
  const Job done = drawn(jobs, "A Red Fox");
  jobs.submit(new_job("100% red_fox\\"));
  jobs.submit(new_job("一只狐狸"));
  const auto found = [&](const std::string& words) { return jobs.list({.search = words}).jobs.size(); };
  EXPECT_EQ(found("red fox"), 1u);
  EXPECT_EQ(found("RED"), 2u);
  EXPECT_EQ(found("%"), 1u);
  EXPECT_EQ(found("d_f"), 1u);
  EXPECT_EQ(found("x\\"), 1u);
  EXPECT_EQ(found("狐狸"), 1u);
  EXPECT_EQ(found("'; DROP TABLE jobs; --"), 0u);
  const JobPage page = jobs.list({.state = JobState::done});
  ASSERT_EQ(page.jobs.size(), 1u);
  EXPECT_EQ(page.jobs[0].id, done.id);
  ASSERT_EQ(page.jobs[0].pictures.size(), 1u);
  EXPECT_EQ(page.jobs[0].pictures[0].seconds.at("denoise"), 0.5);
}

TEST_P(JobStoreTest, CancelsAtOnceWhatWaits) {
  JobStore jobs = store();
  const std::string id = jobs.submit(new_job("a fox")).job.id;
  EXPECT_EQ(jobs.cancel(id), Cancelled::at_once);
  EXPECT_EQ(jobs.get(id)->state, JobState::cancelled);
  EXPECT_TRUE(jobs.get(id)->finished);
  EXPECT_EQ(jobs.cancel(id), Cancelled::finished_before);
  EXPECT_TRUE(jobs.claim("w", 1, 1min).empty());
}

TEST_P(JobStoreTest, RemovesWhatDoesNotRun) {
  JobStore jobs = store();
  const Job done = drawn(jobs, "done");
  const std::string running = jobs.submit(new_job("running")).job.id;
  jobs.claim("w", 1, 1min);
  EXPECT_EQ(jobs.remove(running), Removed::still_running);
  EXPECT_EQ(jobs.remove(done.id), Removed::yes);
  EXPECT_FALSE(jobs.get(done.id));
  EXPECT_EQ(blobs_->collect_garbage(-1s), 1);
  EXPECT_FALSE(blobs_->get(done.pictures.at(0).blob));
}

TEST_P(JobStoreTest, RetentionRemovesTheOld) {
  JobStore jobs = store();
  const Job old = drawn(jobs, "old", "old picture"), fresh = drawn(jobs, "fresh", "fresh picture");
  const std::string waiting = jobs.submit(new_job("waiting")).job.id;
  database_->transaction(Access::write, [&](Connection& c) {
    c.run("UPDATE jobs SET created = created - 7200000, finished = finished - 7200000 WHERE id IN ($1, $2)",
          {old.id, waiting});
  });
  EXPECT_EQ(jobs.retain({.max_age = 1h, .max_bytes = {}}), 1);
  EXPECT_FALSE(jobs.get(old.id));
  EXPECT_TRUE(jobs.get(fresh.id));
  EXPECT_TRUE(jobs.get(waiting));
}

TEST_P(JobStoreTest, RetentionKeepsWithinItsBytes) {
  JobStore jobs = store();
  std::vector<Job> all;
  for (int i = 0; i < 24; ++i) all.push_back(drawn(jobs, "fox", std::string(1000, static_cast<char>('a' + i))));
  EXPECT_EQ(jobs.retain({.max_age = {}, .max_bytes = 24000}), 0);
  EXPECT_EQ(jobs.retain({.max_age = {}, .max_bytes = 23999}), 10);  // they go by tens, the oldest first
  EXPECT_FALSE(jobs.get(all[9].id));
  EXPECT_TRUE(jobs.get(all[10].id));
  EXPECT_EQ(jobs.retain({.max_age = {}, .max_bytes = 0}), 14);
  EXPECT_EQ(blobs_->collect_garbage(-1s), 24);
  EXPECT_EQ(blobs_->bytes(), 0);
}

}  // namespace
}  // namespace glmimage::serve::test
