#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "serve/job_rows.h"
#include "serve/job_store.h"
#include "serve/unique_id.h"

namespace glmimage::serve {
namespace {

constexpr int64_t kLongestRetry = 3600;  // seconds
constexpr const char* kMeanOfRecent =
    "SELECT AVG(seconds) FROM (SELECT (finished - started) / 1000.0 AS seconds FROM jobs "
    "WHERE state = 'done' ORDER BY finished DESC LIMIT 20) AS recent";

double mean_seconds(Connection& c) {
  const SqlRows rows = c.run(kMeanOfRecent);
  return rows.empty() || rows[0].null(0) ? 0 : rows[0].number(0);
}

int64_t worker_count(Connection& c) { return c.run("SELECT COUNT(DISTINCT worker) FROM leases")[0].integer(0); }

// A place is free when a job ends: the mean time of recent ones over those who draw.
int64_t estimate_retry(Connection& c) {
  const double wait = mean_seconds(c) / static_cast<double>(std::max<int64_t>(1, worker_count(c)));
  return std::clamp<int64_t>(static_cast<int64_t>(std::ceil(wait)), 1, kLongestRetry);
}

Submission refuse(Submission::Outcome outcome, std::string message) {
  Submission out;
  out.outcome = outcome;
  out.message = std::move(message);
  return out;
}

// What became of the idempotency key before; unset: it is new.
std::optional<Submission> earlier(Connection& c, const NewJob& job) {
  if (!job.idempotency_key) return {};
  const SqlRows rows = c.run("SELECT id, body_hash FROM jobs WHERE owner = $1 AND idempotency_key = $2",
                             {job.owner, *job.idempotency_key});
  if (rows.empty()) return {};
  if (rows[0].text(1) != job.body_hash) {
    return refuse(Submission::Outcome::conflict, "this idempotency key was used for another request");
  }
  Submission out;
  out.outcome = Submission::Outcome::repeated;
  out.job = *read_job(c, rows[0].text(0));
  return out;
}

int64_t count_jobs(Connection& c, const std::string& where, const std::vector<SqlValue>& parameters) {
  return c.run("SELECT COUNT(*) FROM jobs WHERE " + where, parameters)[0].integer(0);
}

std::optional<Submission> full(Connection& c, const NewJob& job, const QueueLimits& limits) {
  const auto busy = [&](const std::string& message) {
    Submission out = refuse(Submission::Outcome::busy, message);
    out.retry_after = estimate_retry(c);
    return out;
  };
  if (count_jobs(c, "state = 'queued'", {}) >= limits.max_queued) {
    return busy(concat("the queue is full: ", limits.max_queued, " requests are waiting"));
  }
  const int64_t most = limits.max_queued_per_owner;
  if (most > 0 && count_jobs(c, "owner = $1 AND state = 'queued'", {job.owner}) >= most) {
    return busy(concat("your ", most, " places in the queue are taken"));
  }
  if (job.owner_share > 0 &&
      count_jobs(c, "owner = $1 AND state IN ('queued', 'running')", {job.owner}) >= job.owner_share) {
    return busy(concat("this key's limit of ", job.owner_share, " requests at a time is reached"));
  }
  return {};
}

// Touching the row holds it against collect_garbage until this transaction ends; afterwards blob_uses does.
bool hold_references(Connection& c, const JobRequest& request) {
  for (const std::string& hash : request.references) {
    if (c.run("UPDATE blobs SET touched = $now WHERE hash = $1 RETURNING 1", {hash}).empty()) return false;
  }
  return true;
}

// What search reads. PostgreSQL keeps no zero bytes.
std::string searchable(std::string prompt) {
  std::replace(prompt.begin(), prompt.end(), '\0', ' ');
  return prompt;
}

std::string request_text(const JobRequest& request) {
  try {
    return request.to_json().dump();
  } catch (const nlohmann::json::exception&) {
    fail(ErrorKind::usage, "the request holds a text that is not UTF-8");
  }
}

void insert(Connection& c, const NewJob& job, const std::string& id, const std::string& request) {
  c.run(
      "INSERT INTO jobs (id, kind, owner, idempotency_key, body_hash, request, prompt, pictures, state, created) "
      "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'queued', $now)",
      {id, job.kind, job.owner, optional_text(job.idempotency_key), job.body_hash, request,
       searchable(job.request.prompt), job.request.count});
  for (const std::string& hash : job.request.references) {
    c.run("INSERT INTO blob_uses (blob, job) VALUES ($1, $2) ON CONFLICT DO NOTHING", {hash, id});
  }
}

}  // namespace

JobStore::JobStore(Database& database, QueueLimits limits) : database_(database), limits_(limits) {}

Submission JobStore::submit(const NewJob& job) {
  const std::string id = unique_id(), request = request_text(job.request);
  Submission out = database_.transaction(Access::write, [&](Connection& c) {
    c.lock_queue();  // one at a time: keys are unique and limits exact
    if (auto known = earlier(c, job)) return std::move(*known);
    if (auto busy = full(c, job, limits_)) return std::move(*busy);
    if (!hold_references(c, job.request)) {
      return refuse(Submission::Outcome::lost_blob, "a reference picture is not stored; send it again");
    }
    insert(c, job, id, request);
    Submission accepted;
    accepted.job = *read_job(c, id);
    return accepted;
  });
  if (out.outcome == Submission::Outcome::accepted) database_.announce();
  return out;
}

int64_t JobStore::retry_after() const {
  return database_.transaction(Access::read, [](Connection& c) { return estimate_retry(c); });
}

QueueCounts JobStore::counts() const {
  return database_.transaction(Access::read, [](Connection& c) {
    QueueCounts out;
    for (const JobState state :
         {JobState::queued, JobState::running, JobState::done, JobState::failed, JobState::cancelled}) {
      out.jobs[state] = 0;
    }
    for (const SqlRow& row : c.run("SELECT state, COUNT(*) FROM jobs GROUP BY state")) {
      if (const auto state = parse_state(row.text(0))) out.jobs[*state] = row.integer(1);
    }
    const SqlRows oldest = c.run("SELECT $now - MIN(created) FROM jobs WHERE state = 'queued'");
    if (!oldest[0].null(0)) out.oldest_queued_ms = oldest[0].integer(0);
    out.workers = worker_count(c);
    out.mean_seconds = mean_seconds(c);
    return out;
  });
}

}  // namespace glmimage::serve
