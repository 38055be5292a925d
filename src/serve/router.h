#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "serve/http.h"

namespace glmimage::serve {

// Who may ask.
enum class Door {
  open,  // anybody who reaches the server
  key,   // holders of an API key, where keys are asked for
};

struct Route {
  std::string method;
  std::string pattern;  // "/v1/jobs/{id}": {name} is one segment that is not empty
  Door door = Door::key;
  uint64_t most_bytes = 0;                  // of the body
  std::function<Answer(Request&)> handler;  // may throw Error
};

// All routes of the server.
class Router {
 public:
  void add(Route route);
  // The route of request.method and request.path, and its path_parts. GET routes answer HEAD too. Throws Refusal: 404,
  // or 405 where the path is known.
  const Route& find(Request& request) const;
  // "GET, HEAD, OPTIONS": of a path; empty where it is not known.
  std::string methods(const std::string& path) const;

 private:
  std::vector<Route> routes_;
};

}  // namespace glmimage::serve
