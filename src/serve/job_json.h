#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "serve/http.h"
#include "serve/job.h"
#include "serve/services.h"

namespace glmimage::serve {

// A job as /v1/jobs shows it. Times are Unix seconds.
nlohmann::json job_json(const Job& job, const Request& request, const Services& services);

// Where a finished picture is served: "http://…/pictures/<job>/<index>.png". The job's id has 62 random bits, so
// that who knows the URL was given it.
std::string picture_url(const Job& job, const JobPicture& picture, const Request& request, const Services& services);

nlohmann::json picture_json(const Job& job, const JobPicture& picture, const Request& request,
                            const Services& services);
nlohmann::json progress_json(const JobProgress& progress);

int64_t unix_seconds(Time time);

}  // namespace glmimage::serve
