#include "serve/database/schema.h"

#include <string>
#include <vector>

#include "core/error.h"

namespace glmimage::serve {
namespace {

// One entry a version, never changed after a release: what leads from the version before to this one. Types are those
// both databases read alike; times are milliseconds since 1970.
const std::vector<std::vector<std::string>>& migrations() {
  static const std::vector<std::vector<std::string>> all = {{
      // `prompt` repeats the request's, for search; `pictures` is how many are asked for.
      "CREATE TABLE jobs (id TEXT PRIMARY KEY, kind TEXT NOT NULL, owner TEXT NOT NULL, idempotency_key TEXT, "
      "body_hash TEXT NOT NULL, request TEXT NOT NULL, prompt TEXT NOT NULL, pictures BIGINT NOT NULL, "
      "state TEXT NOT NULL, created BIGINT NOT NULL, started BIGINT, finished BIGINT, "
      "attempts BIGINT NOT NULL DEFAULT 0, cancel BIGINT NOT NULL DEFAULT 0, error_kind TEXT, error_message TEXT)",
      "CREATE UNIQUE INDEX jobs_by_idempotency_key ON jobs (owner, idempotency_key)",
      "CREATE INDEX jobs_by_state ON jobs (state, created, id)",
      "CREATE INDEX jobs_by_end ON jobs (state, finished)",
      "CREATE INDEX jobs_by_owner ON jobs (owner, id)",
      // A running job's: who draws it, until when it may, and how far it is. Apart from `jobs`, as it changes every
      // second.
      "CREATE TABLE leases (job TEXT PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE, token TEXT NOT NULL, "
      "worker TEXT NOT NULL, until BIGINT NOT NULL, progress TEXT)",
      "CREATE TABLE pictures (job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE, number BIGINT NOT NULL, "
      "seed BIGINT NOT NULL, blob TEXT NOT NULL, mime TEXT NOT NULL, width BIGINT NOT NULL, height BIGINT NOT NULL, "
      "bytes BIGINT NOT NULL, statistics TEXT NOT NULL, PRIMARY KEY (job, number))",
      "CREATE TABLE blobs (hash TEXT PRIMARY KEY, bytes BIGINT NOT NULL, touched BIGINT NOT NULL)",
      "CREATE INDEX blobs_by_time ON blobs (touched)",
      // Pictures to edit and finished ones: what keeps a blob.
      "CREATE TABLE blob_uses (blob TEXT NOT NULL REFERENCES blobs (hash), "
      "job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE, PRIMARY KEY (blob, job))",
      "CREATE INDEX blob_uses_by_job ON blob_uses (job)",
      "CREATE TABLE api_keys (id TEXT PRIMARY KEY, name TEXT NOT NULL, hash TEXT NOT NULL UNIQUE, "
      "queue_share BIGINT NOT NULL, requests_per_minute BIGINT NOT NULL, created BIGINT NOT NULL, last_used BIGINT, "
      "revoked BIGINT)",
      "CREATE TABLE key_minutes (key TEXT PRIMARY KEY REFERENCES api_keys (id), minute BIGINT NOT NULL, "
      "requests BIGINT NOT NULL)",
  }};
  return all;
}

}  // namespace

int64_t schema_version() { return static_cast<int64_t>(migrations().size()); }

void migrate(Connection& connection) {
  connection.lock_queue();  // several servers may start at once
  connection.run("CREATE TABLE IF NOT EXISTS glm_image_schema (version BIGINT NOT NULL)");
  const SqlRows rows = connection.run("SELECT version FROM glm_image_schema");
  const int64_t found = rows.empty() ? 0 : rows[0].integer(0), ours = schema_version();
  if (found == ours) return;
  if (found > ours || found < 0) {
    fail(ErrorKind::usage, "the database's tables are of version ", found, ", and this program knows versions up to ",
         ours, ": was a later glm-image here?");
  }
  for (int64_t version = found; version < ours; ++version) {
    for (const std::string& sql : migrations()[static_cast<size_t>(version)]) connection.run(sql);
  }
  if (rows.empty())
    connection.run("INSERT INTO glm_image_schema (version) VALUES ($1)", {ours});
  else
    connection.run("UPDATE glm_image_schema SET version = $1", {ours});
}

}  // namespace glmimage::serve
