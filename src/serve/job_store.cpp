#include "serve/job_store.h"

#include <algorithm>

#include "core/error.h"
#include "serve/job_rows.h"

namespace glmimage::serve {
namespace {

// "%what was typed%", with LIKE's own signs taken literally.
std::string like_pattern(const std::string& search) {
  std::string out = "%";
  for (const char c : search) {
    if (c == '%' || c == '_' || c == '\\') out += '\\';
    out += c == '\0' ? ' ' : c;
  }
  return out + "%";
}

// Adds "AND column = $n" and its value.
void narrow(std::string& where, std::vector<SqlValue>& values, const std::string& condition, SqlValue value) {
  values.push_back(std::move(value));
  where += concat(where.empty() ? "WHERE " : " AND ", condition, "$", values.size());
}

// The state of a job of this owner, its row held until the transaction ends.
std::optional<JobState> hold(Connection& c, const std::string& id, const std::optional<std::string>& owner) {
  const SqlRows rows = c.run("SELECT state, owner FROM jobs WHERE id = $1 $for_update", {id});
  if (rows.empty() || (owner && rows[0].text(1) != *owner)) return {};
  return parse_state(rows[0].text(0));
}

int64_t bytes_in_use(Connection& c) {
  return c.run("SELECT COALESCE(SUM(bytes), 0) FROM blobs WHERE EXISTS (SELECT 1 FROM blob_uses WHERE blob = hash)")[0]
      .integer(0);
}

int64_t remove_older(Connection& c, int64_t age) {
  return static_cast<int64_t>(
      c.run("DELETE FROM jobs WHERE state IN ('done', 'failed', 'cancelled') AND finished < $now - $1 RETURNING 1",
            {age})
          .size());
}

int64_t remove_oldest(Connection& c) {
  return static_cast<int64_t>(c.run("DELETE FROM jobs WHERE id IN (SELECT id FROM jobs WHERE state IN ('done', "
                                    "'failed', 'cancelled') ORDER BY finished, id LIMIT 10 $skip_locked) RETURNING 1")
                                  .size());
}

}  // namespace

std::optional<Job> JobStore::get(const std::string& id, const std::optional<std::string>& owner) const {
  if (id.find('\0') != std::string::npos) return {};
  std::optional<Job> job = database_.transaction(Access::read, [&](Connection& c) { return read_job(c, id); });
  if (job && owner && job->owner != *owner) return {};
  return job;
}

JobPage JobStore::list(const JobFilter& filter) const {
  if (filter.limit < 1 || filter.limit > 1000) {
    fail(ErrorKind::usage, "a page holds 1 to 1000 jobs, not ", filter.limit);
  }
  std::string where;
  std::vector<SqlValue> values;
  if (filter.owner) narrow(where, values, "j.owner = ", *filter.owner);
  if (filter.state) narrow(where, values, "j.state = ", std::string(state_name(*filter.state)));
  if (filter.before) narrow(where, values, "j.id < ", *filter.before);
  if (!filter.search.empty()) {
    narrow(where, values, "LOWER(j.prompt) LIKE LOWER(", like_pattern(filter.search));
    where += ") ESCAPE '\\'";
  }
  // One more than asked for tells whether there is another page.
  const std::string rest = concat(where, " ORDER BY j.id DESC LIMIT ", filter.limit + 1);
  JobPage page;
  page.jobs = database_.transaction(Access::read, [&](Connection& c) { return read_jobs(c, rest, values); });
  if (static_cast<int64_t>(page.jobs.size()) > filter.limit) {
    page.jobs.pop_back();
    page.next = page.jobs.back().id;
  }
  return page;
}

int64_t JobStore::queue_place(const Job& job) const {
  const int64_t created = job.created.time_since_epoch().count();
  return database_.transaction(Access::read, [&](Connection& c) {
    return c
        .run("SELECT COUNT(*) FROM jobs WHERE state = 'queued' AND (created < $1 OR (created = $1 AND id <= $2))",
             {created, job.id})[0]
        .integer(0);
  });
}

Cancelled JobStore::cancel(const std::string& id, const std::optional<std::string>& owner) {
  const Cancelled out = database_.transaction(Access::write, [&](Connection& c) {
    const std::optional<JobState> state = hold(c, id, owner);
    if (!state) return Cancelled::unknown_job;
    if (is_final(*state)) return Cancelled::finished_before;
    if (*state == JobState::running) {
      c.run("UPDATE jobs SET cancel = 1 WHERE id = $1", {id});
      return Cancelled::requested;
    }
    c.run("UPDATE jobs SET state = 'cancelled', finished = $now WHERE id = $1", {id});
    return Cancelled::at_once;
  });
  if (out == Cancelled::at_once || out == Cancelled::requested) database_.announce();
  return out;
}

Removed JobStore::remove(const std::string& id, const std::optional<std::string>& owner) {
  const Removed out = database_.transaction(Access::write, [&](Connection& c) {
    const std::optional<JobState> state = hold(c, id, owner);
    if (!state) return Removed::unknown_job;
    if (*state == JobState::running) return Removed::still_running;
    c.run("DELETE FROM jobs WHERE id = $1", {id});
    return Removed::yes;
  });
  if (out == Removed::yes) database_.announce();
  return out;
}

int64_t JobStore::retain(const Retention& retention) {
  int64_t removed = 0;
  if (retention.max_age) {
    const int64_t age = retention.max_age->count();
    removed += database_.transaction(Access::write, [&](Connection& c) { return remove_older(c, age); });
  }
  // A few at a time: nobody waits long for the database, and pictures that jobs share count once.
  while (retention.max_bytes) {
    const int64_t now = database_.transaction(Access::write, [&](Connection& c) {
      return bytes_in_use(c) > *retention.max_bytes ? remove_oldest(c) : int64_t{0};
    });
    if (now == 0) break;
    removed += now;
  }
  if (removed > 0) database_.announce();
  return removed;
}

}  // namespace glmimage::serve
