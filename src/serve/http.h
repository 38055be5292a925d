#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

// What handlers see of HTTP: no sockets, no library.
namespace glmimage::serve {

struct Request {
  std::string method;                             // "GET"
  std::string target;                             // as it came: "/v1/jobs?limit=2"
  std::string path;                               // percent-decoded, without the query: "/v1/jobs"
  std::map<std::string, std::string> query;       // decoded; of a repeated name the last
  std::map<std::string, std::string> headers;     // names in lower case; repeated ones joined by ", "
  std::map<std::string, std::string> path_parts;  // what the pattern's {name} stood for
  std::string body;
  std::string id;    // of this request, in logs and in X-Request-Id
  std::string peer;  // the client's address, without its port
  bool over_tls = false;
  std::string owner;        // id of the API key; empty where none is asked for
  int64_t owner_share = 0;  // jobs of that key that may wait or run; 0: no limit
  std::string route;        // the pattern that matched, for logs and metrics

  // The header's value, or empty. `name` is in lower case.
  const std::string& header(const std::string& name) const;
};

struct Response {
  int status = 200;
  std::string content_type = "application/json";
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
};

// A response that is not there yet, or grows. Its functions are called on one thread at a time.
class LiveResponse {
 public:
  struct Step {
    std::optional<Response> head;  // once: status and headers, and where `done` comes with it, the body
    std::string bytes;             // what follows a head that came without `done`
    bool done = false;
    std::chrono::milliseconds again{0};  // poll again after that time even if nothing woke it; 0: no need
  };
  virtual ~LiveResponse() = default;
  // Called once and first. `wake` may be called from any thread, also after this object is gone, whenever poll may have
  // something new.
  virtual void start(std::function<void()> wake) = 0;
  // What is new since the last call. Does not wait.
  virtual Step poll() = 0;
  // The client closed the connection. Nothing else is called but the destructor.
  virtual void client_left() {}
};

using Answer = std::variant<Response, std::unique_ptr<LiveResponse>>;

// What the server asks of whom it serves. All functions are called from several threads at once.
class Application {
 public:
  virtual ~Application() = default;
  // The header is there, the body is not. The most bytes that may follow, or a refusal. Fills in owner, route and
  // path_parts.
  virtual std::variant<uint64_t, Response> admit(Request& request) = 0;
  // The whole request. Does not throw.
  virtual Answer handle(Request& request) = 0;
  // The answer to a fault that the server found by itself: bad syntax, too much of something, too slow. `request` holds
  // what was understood by then.
  virtual Response refuse(const Request& request, int status, const std::string& message) = 0;
  // Was answered, or left by its client (status 499).
  virtual void finished(const Request& request, int status, double seconds, uint64_t bytes_sent) = 0;
};

// Splits "/path?name=value" and decodes it. False for anything but a path, bad percent signs and zero bytes.
bool parse_target(const std::string& target, Request& request);

}  // namespace glmimage::serve
