#pragma once

#include <optional>
#include <string>
#include <vector>

#include "serve/database/database.h"
#include "serve/job.h"

namespace glmimage::serve {

// The jobs of "SELECT … FROM jobs j LEFT JOIN leases l …" with `rest` (WHERE, ORDER BY, LIMIT) and their pictures.
std::vector<Job> read_jobs(Connection& connection, const std::string& rest, const std::vector<SqlValue>& parameters);
std::optional<Job> read_job(Connection& connection, const std::string& id);

// A picture's stage times and tokens as they are kept in its row.
std::string statistics_text(const JobPicture& picture);

inline int64_t milliseconds(Time time) { return time.time_since_epoch().count(); }
inline Time time_of(int64_t milliseconds) { return Time(std::chrono::milliseconds(milliseconds)); }
inline std::optional<Time> optional_time(const SqlRow& row, size_t column) {
  return row.null(column) ? std::nullopt : std::optional(time_of(row.integer(column)));
}
inline SqlValue optional_text(const std::optional<std::string>& text) { return text ? SqlValue(*text) : SqlValue(); }

}  // namespace glmimage::serve
