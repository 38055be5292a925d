#include "serve/job_rows.h"

#include <unordered_map>

#include "core/error.h"

namespace glmimage::serve {
namespace {

using nlohmann::json;

constexpr const char* kSelectJobs =
    "SELECT j.id, j.kind, j.owner, j.idempotency_key, j.request, j.state, j.created, j.started, j.finished, "
    "j.attempts, j.cancel, j.error_kind, j.error_message, l.progress FROM jobs j LEFT JOIN leases l ON l.job = j.id ";

json parse(const std::string& text, const char* what) {
  json value = json::parse(text, nullptr, false);
  if (value.is_discarded()) fail(ErrorKind::io, "the database holds a broken ", what, ": is the disk broken?");
  return value;
}

Job job_of(const SqlRow& row) {
  Job job;
  job.id = row.text(0);
  job.kind = row.text(1);
  job.owner = row.text(2);
  if (!row.null(3)) job.idempotency_key = row.text(3);
  job.request = JobRequest::from_json(parse(row.text(4), "request"));
  const std::optional<JobState> state = parse_state(row.text(5));
  if (!state) fail(ErrorKind::io, "the database holds the unknown state '", row.text(5), "'");
  job.state = *state;
  job.created = time_of(row.integer(6));
  job.started = optional_time(row, 7);
  job.finished = optional_time(row, 8);
  job.attempts = row.integer(9);
  job.cancel_requested = row.integer(10) != 0;
  if (!row.null(11)) job.error = JobError{row.text(11), row.text(12)};
  if (!row.null(13)) job.progress = JobProgress::from_json(parse(row.text(13), "progress"));
  return job;
}

JobPicture picture_of(const SqlRow& row) {
  JobPicture picture{.index = row.integer(1),
                     .seed = static_cast<uint64_t>(row.integer(2)),
                     .blob = row.text(3),
                     .mime = row.text(4),
                     .width = row.integer(5),
                     .height = row.integer(6),
                     .bytes = row.integer(7)};
  const json statistics = parse(row.text(8), "picture's statistics");
  picture.visual_tokens = statistics.value("visual_tokens", int64_t{0});
  picture.seconds = statistics.value("seconds", std::map<std::string, double>());
  return picture;
}

void add_pictures(Connection& connection, std::vector<Job>& jobs) {
  if (jobs.empty()) return;
  std::string places;
  std::vector<SqlValue> ids;
  std::unordered_map<std::string, Job*> by_id;
  for (Job& job : jobs) {
    ids.emplace_back(job.id);
    places += concat(places.empty() ? "$" : ", $", ids.size());
    by_id[job.id] = &job;
  }
  const SqlRows rows = connection.run(
      "SELECT job, number, seed, blob, mime, width, height, bytes, statistics FROM pictures WHERE job IN (" + places +
          ") ORDER BY job, number",
      ids);
  for (const SqlRow& row : rows) by_id.at(row.text(0))->pictures.push_back(picture_of(row));
}

}  // namespace

std::vector<Job> read_jobs(Connection& connection, const std::string& rest, const std::vector<SqlValue>& parameters) {
  std::vector<Job> jobs;
  for (const SqlRow& row : connection.run(kSelectJobs + rest, parameters)) jobs.push_back(job_of(row));
  add_pictures(connection, jobs);
  return jobs;
}

std::optional<Job> read_job(Connection& connection, const std::string& id) {
  std::vector<Job> found = read_jobs(connection, "WHERE j.id = $1", {id});
  if (found.empty()) return {};
  return std::move(found.front());
}

std::string statistics_text(const JobPicture& picture) {
  return json{{"seconds", picture.seconds}, {"visual_tokens", picture.visual_tokens}}.dump();
}

}  // namespace glmimage::serve
