#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "serve/change_signal.h"
#include "serve/database/database.h"
#include "serve/job.h"

namespace glmimage::serve {

struct QueueLimits {
  int64_t max_queued = 1000;         // jobs of all owners that wait
  int64_t max_queued_per_owner = 0;  // 0: no limit; a key's own queue_share comes on top
  int64_t max_attempts = 3;          // of a job whose process dies
};

struct NewJob {
  std::string kind, owner;
  std::optional<std::string> idempotency_key;  // unique per owner
  std::string body_hash;  // of what the client sent (sha256_hex); compared when the idempotency key is known already
  JobRequest request;
  int64_t owner_share = 0;  // jobs of this owner that may wait or run; 0: no limit (ApiKey::queue_share)
};

// What became of an attempt to submit. Refusals are answers, not exceptions.
struct Submission {
  enum class Outcome {
    accepted,   // a new job; on the disk
    repeated,   // the idempotency key is known and the body is the same: the job of the first time
    conflict,   // the idempotency key is known and the body is another
    busy,       // the queue is full, or the owner's share of it
    lost_blob,  // a reference picture is not (or no longer) stored: put it again
  };
  Outcome outcome = Outcome::accepted;
  Job job;                  // of accepted and repeated
  int64_t retry_after = 0;  // seconds, of busy: when a place is likely to be free
  std::string message;      // one sentence for the client, of refusals
  bool ok() const { return outcome == Outcome::accepted || outcome == Outcome::repeated; }
};

struct JobFilter {
  std::optional<std::string> owner = {};
  std::optional<JobState> state = {};
  std::string search = {};                 // words in the prompt, any case of ASCII letters
  std::optional<std::string> before = {};  // the page after the one whose JobPage::next this is
  int64_t limit = 20;                      // 1 to 1000
};

struct JobPage {
  std::vector<Job> jobs;            // newest first
  std::optional<std::string> next;  // unset: there are no more
};

// The right to write about one running job. A worker whose lease ran out and was given away can no longer write.
struct Lease {
  std::string job, token;
};

struct Claim {
  Job job;  // with the pictures earlier attempts finished
  Lease lease;
};

enum class Attempt { spared, counted };  // against QueueLimits::max_attempts

enum class LeaseState { held, cancel_requested, lost };

enum class Cancelled { at_once, requested, finished_before, unknown_job };
enum class Removed { yes, still_running, unknown_job };

struct Retention {
  std::optional<std::chrono::milliseconds> max_age = {};  // of finished jobs
  std::optional<int64_t> max_bytes = {};                  // of all pictures that jobs refer to; the oldest go first
};

struct QueueCounts {
  std::map<JobState, int64_t> jobs;  // all states are there
  int64_t oldest_queued_ms = 0;      // how long the first in the queue has waited
  int64_t workers = 0;               // that hold a lease
  double mean_seconds = 0;           // of the latest jobs that were drawn; 0: none yet
};

// The queue: jobs are rows of a database before they are accepted. All functions may be called from any thread, of any
// process. All throw ErrorKind::io when the database refuses (a full disk, a lost connection, a broken file): then
// nothing was changed, except that a commit whose answer was lost on the network may have happened.
class JobStore {
 public:
  explicit JobStore(Database& database, QueueLimits limits = {});  // `database` outlives it

  // Accepts a job: when this returns `accepted`, the job survives a power cut.
  Submission submit(const NewJob& job);
  // `owner`: only a job of this owner is found.
  std::optional<Job> get(const std::string& id, const std::optional<std::string>& owner = {}) const;
  JobPage list(const JobFilter& filter) const;
  // How many jobs of all owners are drawn before a queued one, itself included: 1 is next.
  int64_t queue_place(const Job& job) const;
  Cancelled cancel(const std::string& id, const std::optional<std::string>& owner = {});
  // Finished jobs and queued ones. Their blobs go with the next BlobStore::collect_garbage.
  Removed remove(const std::string& id, const std::optional<std::string>& owner = {});
  int64_t retain(const Retention& retention);  // how many finished jobs were removed
  QueueCounts counts() const;
  // Seconds until a place in the queue is likely to be free, from recent jobs: 1 to 3600.
  int64_t retry_after() const;

  // Workers. Up to `count` jobs, first come, first served; before that, lost jobs are requeued (requeue_lost). A power
  // cut within the next moment may forget the claim: then the job waits again, and what the worker writes is refused.
  std::vector<Claim> claim(const std::string& worker, int64_t count, std::chrono::milliseconds lease);
  // Keeps the lease for `lease` from now and says how far the job is.
  LeaseState heartbeat(const Lease& lease, const JobProgress& progress, std::chrono::milliseconds duration);
  // Idempotent by (job, index): the first picture of an index stays. False: the lease is lost, nothing was written.
  bool add_picture(const Lease& lease, const JobPicture& picture);
  bool finish(const Lease& lease);  // throws ErrorKind::internal when pictures are missing
  // add_picture and finish in one transaction: a job with its last picture is done.
  bool finish(const Lease& lease, const JobPicture& last);
  bool fail_job(const Lease& lease, const JobError& error);
  bool finish_cancelled(const Lease& lease);
  // Back to the queue. Attempt::spared: it was not the job's fault (a drain, a full disk).
  bool hand_back(const Lease& lease, Attempt attempt = Attempt::spared);
  // Jobs whose lease ran out, or whose process of this machine is gone, go back to the queue; those that were tried
  // max_attempts times fail as "poison". Returns how many.
  int64_t requeue_lost();

  // Bumped by every change this process makes, and where the database can tell (PostgreSQL), by those of others.
  ChangeSignal& changes() const { return database_.changes(); }
  const QueueLimits& limits() const { return limits_; }

 private:
  bool end(const Lease& lease, JobState state, const JobError& error);

  Database& database_;
  QueueLimits limits_;
};

}  // namespace glmimage::serve
