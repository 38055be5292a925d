#include "serve/request_log.h"

#include <cstdio>
#include <ctime>

#include "serve/refusal.h"

namespace glmimage::serve {
namespace {

using nlohmann::json;

// "2026-01-31T12:00:00.123Z"
std::string now_text() {
  timespec now = {};
  ::clock_gettime(CLOCK_REALTIME, &now);
  tm parts = {};
  ::gmtime_r(&now.tv_sec, &parts);
  char text[64];
  const size_t used = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
  std::snprintf(text + used, sizeof text - used, ".%03ldZ", now.tv_nsec / 1'000'000);
  return text;
}

json about(const Request& request) {
  json out = {{"request_id", request.id}, {"peer", request.peer}};
  if (!request.owner.empty()) out["key"] = request.owner;
  return out;
}

}  // namespace

void write_to_stderr(const std::string& line) {
  std::fwrite(line.data(), 1, line.size(), stderr);
  std::fflush(stderr);
}

void RequestLog::write(const char* level, const std::string& event, json line) {
  line["time"] = now_text();
  line["level"] = level;
  line["event"] = event;
  const std::string text = to_text(line) + "\n";
  const std::lock_guard lock(mutex_);
  sink_(text);
}

void RequestLog::answered(const Request& request, int status, double seconds, uint64_t bytes) {
  json line = about(request);
  line["method"] = request.method.substr(0, 32);
  // Ids of jobs and pictures stand for rights where no keys are asked for: the pattern says enough.
  line["route"] = request.route.empty() ? "" : request.route;
  line["status"] = status;
  line["seconds"] = seconds;
  line["bytes"] = bytes;
  write(status >= 500 ? "error" : "info", "request", std::move(line));
}

void RequestLog::accepted(const Request& request, const Job& job) {
  json line = about(request);
  line["job"] = job.id;
  line["kind"] = job.kind;
  line["pictures"] = job.request.count;
  line["references"] = job.request.references.size();
  line["steps"] = job.request.steps;
  line["seed"] = job.request.seed;
  if (prompts_) line["prompt"] = job.request.prompt;
  write("info", "job", std::move(line));
}

void RequestLog::fault(const Request& request, const std::string& message) {
  json line = about(request);
  line["route"] = request.route;
  line["message"] = message;
  write("error", "fault", std::move(line));
}

void RequestLog::note(const std::string& event, json details) { write("info", event, std::move(details)); }

}  // namespace glmimage::serve
