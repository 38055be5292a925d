#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>

#include "serve/http.h"
#include "serve/job.h"

namespace glmimage::serve {

// One JSON object a line, written whole. What was asked for is in it only where `prompts` is set; secrets never are:
// a key shows as its id, a target without its query.
class RequestLog {
 public:
  using Sink = std::function<void(const std::string& line)>;
  RequestLog(Sink sink, bool prompts) : sink_(std::move(sink)), prompts_(prompts) {}

  void answered(const Request& request, int status, double seconds, uint64_t bytes);
  void accepted(const Request& request, const Job& job);
  void fault(const Request& request, const std::string& message);  // of this program or of the machine
  // Anything else: "listening", "draining", ….
  void note(const std::string& event, nlohmann::json details = nlohmann::json::object());

 private:
  void write(const char* level, const std::string& event, nlohmann::json line);
  std::mutex mutex_;
  Sink sink_;
  bool prompts_;
};

// A sink for standard error.
void write_to_stderr(const std::string& line);

}  // namespace glmimage::serve
