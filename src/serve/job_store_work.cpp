// What workers do: claiming, keeping and ending leases.
#include "core/error.h"
#include "serve/job_rows.h"
#include "serve/job_store.h"
#include "serve/process_identity.h"
#include "serve/unique_id.h"

namespace glmimage::serve {
namespace {

// Holds the job's row, then asks whether the lease is still its. Every transaction that touches both tables begins with
// the row in `jobs`, so that none waits for another crosswise.
bool hold_lease(Connection& c, const Lease& lease) {
  if (c.run("SELECT id FROM jobs WHERE id = $1 $for_update", {lease.job}).empty()) return false;
  return !c.run("SELECT 1 FROM leases WHERE job = $1 AND token = $2", {lease.job, lease.token}).empty();
}

// A job that was tried before may be what ended its process: it is drawn alone, so that it drags no others down.
SqlRows next_jobs(Connection& c, int64_t count) {
  const SqlRows first =
      c.run("SELECT id, attempts FROM jobs WHERE state = 'queued' ORDER BY created, id LIMIT 1 $skip_locked");
  if (first.empty() || count == 1 || first[0].integer(1) > 0) return first;
  return c.run(concat("SELECT id FROM jobs WHERE state = 'queued' AND attempts = 0 ORDER BY created, id LIMIT ", count,
                      " $skip_locked"));
}

Claim start(Connection& c, const std::string& id, const std::string& worker, int64_t duration) {
  Claim claim;
  claim.lease = {id, random_text(16)};
  c.run("UPDATE jobs SET state = 'running', started = $now, attempts = attempts + 1 WHERE id = $1", {id});
  c.run("INSERT INTO leases (job, token, worker, until) VALUES ($1, $2, $3, $now + $4)",
        {id, claim.lease.token, worker, duration});
  claim.job = *read_job(c, id);
  return claim;
}

// Of a job without a lease, whose row is held.
void requeue(Connection& c, const std::string& id, int64_t max_attempts) {
  const SqlRow job = c.run("SELECT attempts, cancel FROM jobs WHERE id = $1", {id})[0];
  const int64_t attempts = job.integer(0);
  if (job.integer(1) != 0) {
    c.run("UPDATE jobs SET state = 'cancelled', finished = $now WHERE id = $1", {id});
  } else if (attempts < max_attempts) {
    c.run("UPDATE jobs SET state = 'queued', started = NULL WHERE id = $1", {id});
  } else {
    c.run("UPDATE jobs SET state = 'failed', finished = $now, error_kind = 'poison', error_message = $2 WHERE id = $1",
          {id, concat("drawing this request ended the worker's process, its device or its connection ", attempts,
                      " times; it is not tried again")});
  }
}

struct Lost {
  std::string job, token;
  bool process_gone;
};

std::vector<Lost> find_lost(Connection& c) {
  std::vector<Lost> out;
  for (const SqlRow& row : c.run("SELECT job, token, worker, CASE WHEN until < $now THEN 1 ELSE 0 END FROM leases")) {
    const bool gone = process_is_gone(row.text(2));
    if (gone || row.integer(3) != 0) out.push_back({row.text(0), row.text(1), gone});
  }
  return out;
}

// It may have been kept by a late heartbeat, ended or requeued since it was found.
bool take_lease(Connection& c, const Lost& lost) {
  if (c.run("SELECT id FROM jobs WHERE id = $1 $for_update", {lost.job}).empty()) return false;
  return !c.run("DELETE FROM leases WHERE job = $1 AND token = $2 AND (until < $now OR $3 = 1) RETURNING 1",
                {lost.job, lost.token, int64_t{lost.process_gone}})
              .empty();
}

// Of a job whose row is held. Idempotent by index.
void insert_picture(Connection& c, const std::string& job, const JobPicture& picture) {
  if (!c.run("SELECT 1 FROM pictures WHERE job = $1 AND number = $2", {job, picture.index}).empty()) {
    return;  // written before, and the answer was lost
  }
  if (c.run("UPDATE blobs SET touched = $now WHERE hash = $1 RETURNING 1", {picture.blob}).empty()) {
    fail(ErrorKind::io, "the picture ", picture.blob, " of a job is no longer stored");
  }
  c.run(
      "INSERT INTO pictures (job, number, seed, blob, mime, width, height, bytes, statistics) "
      "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
      {job, picture.index, static_cast<int64_t>(picture.seed), picture.blob, picture.mime, picture.width,
       picture.height, picture.bytes, statistics_text(picture)});
  c.run("INSERT INTO blob_uses (blob, job) VALUES ($1, $2) ON CONFLICT DO NOTHING", {picture.blob, job});
}

// The same: its last state, and its lease is over.
void end_job(Connection& c, const std::string& job, JobState state, const JobError& error) {
  if (state == JobState::done) {
    const SqlRow asked = c.run("SELECT pictures FROM jobs WHERE id = $1", {job})[0];
    const SqlRow drawn = c.run("SELECT COUNT(*) FROM pictures WHERE job = $1", {job})[0];
    if (asked.integer(0) != drawn.integer(0)) {
      fail(ErrorKind::internal, "job ", job, " has ", drawn.integer(0), " of ", asked.integer(0), " pictures");
    }
  }
  const bool failed = state == JobState::failed;
  c.run("UPDATE jobs SET state = $2, finished = $now, error_kind = $3, error_message = $4 WHERE id = $1",
        {job, std::string(state_name(state)), failed ? SqlValue(error.kind) : SqlValue(),
         failed ? SqlValue(error.message) : SqlValue()});
  c.run("DELETE FROM leases WHERE job = $1", {job});
}

}  // namespace

std::vector<Claim> JobStore::claim(const std::string& worker, int64_t count, std::chrono::milliseconds lease) {
  if (count < 1) fail(ErrorKind::internal, "a worker claims at least one job, not ", count);
  requeue_lost();
  // Most looks find nothing, and whoever writes keeps others waiting.
  const bool any = database_.transaction(
      Access::read, [](Connection& c) { return !c.run("SELECT 1 FROM jobs WHERE state = 'queued' LIMIT 1").empty(); });
  if (!any) return {};
  return database_.transaction(Access::relaxed, [&](Connection& c) {
    std::vector<Claim> claims;
    for (const SqlRow& row : next_jobs(c, count)) claims.push_back(start(c, row.text(0), worker, lease.count()));
    return claims;
  });
}

LeaseState JobStore::heartbeat(const Lease& lease, const JobProgress& progress, std::chrono::milliseconds duration) {
  return database_.transaction(Access::relaxed, [&](Connection& c) {
    const SqlRows rows = c.run(
        "UPDATE leases SET until = $now + $3, progress = $4 WHERE job = $1 AND token = $2 "
        "RETURNING (SELECT cancel FROM jobs WHERE id = $1)",
        {lease.job, lease.token, duration.count(), progress.to_json().dump()});
    if (rows.empty()) return LeaseState::lost;
    return rows[0].integer(0) != 0 ? LeaseState::cancel_requested : LeaseState::held;
  });
}

bool JobStore::add_picture(const Lease& lease, const JobPicture& picture) {
  const bool held = database_.transaction(Access::write, [&](Connection& c) {
    if (!hold_lease(c, lease)) return false;
    insert_picture(c, lease.job, picture);
    return true;
  });
  if (held) database_.announce();
  return held;
}

bool JobStore::finish(const Lease& lease, const JobPicture& last) {
  const bool held = database_.transaction(Access::write, [&](Connection& c) {
    if (!hold_lease(c, lease)) return false;
    insert_picture(c, lease.job, last);
    end_job(c, lease.job, JobState::done, {});
    return true;
  });
  if (held) database_.announce();
  return held;
}

bool JobStore::end(const Lease& lease, JobState state, const JobError& error) {
  const bool held = database_.transaction(Access::write, [&](Connection& c) {
    if (!hold_lease(c, lease)) return false;
    end_job(c, lease.job, state, error);
    return true;
  });
  if (held) database_.announce();
  return held;
}

bool JobStore::finish(const Lease& lease) { return end(lease, JobState::done, {}); }
bool JobStore::fail_job(const Lease& lease, const JobError& error) { return end(lease, JobState::failed, error); }
bool JobStore::finish_cancelled(const Lease& lease) { return end(lease, JobState::cancelled, {}); }

bool JobStore::hand_back(const Lease& lease, Attempt attempt) {
  const bool held = database_.transaction(Access::write, [&](Connection& c) {
    if (!hold_lease(c, lease)) return false;
    c.run("DELETE FROM leases WHERE job = $1", {lease.job});
    if (attempt == Attempt::spared) c.run("UPDATE jobs SET attempts = attempts - 1 WHERE id = $1", {lease.job});
    requeue(c, lease.job, limits_.max_attempts);
    return true;
  });
  if (held) database_.announce();
  return held;
}

int64_t JobStore::requeue_lost() {
  const std::vector<Lost> lost = database_.transaction(Access::read, find_lost);
  int64_t count = 0;
  for (const Lost& each : lost) {
    count += database_.transaction(Access::write, [&](Connection& c) {
      if (!take_lease(c, each)) return int64_t{0};
      requeue(c, each.job, limits_.max_attempts);
      return int64_t{1};
    });
  }
  if (count > 0) database_.announce();
  return count;
}

}  // namespace glmimage::serve
