#include "serve/router.h"

#include <map>

#include "serve/refusal.h"

namespace glmimage::serve {
namespace {

// Cuts the first segment off: "/a/b" -> "a", rest "/b".
std::string_view take_segment(std::string_view& path) {
  path.remove_prefix(1);
  const size_t end = std::min(path.find('/'), path.size());
  const std::string_view segment = path.substr(0, end);
  path.remove_prefix(end);
  return segment;
}

std::optional<std::map<std::string, std::string>> match(std::string_view pattern, std::string_view path) {
  std::map<std::string, std::string> parts;
  while (pattern.starts_with('/') && path.starts_with('/')) {
    const std::string_view expected = take_segment(pattern), segment = take_segment(path);
    if (expected.starts_with('{')) {
      if (segment.empty()) return std::nullopt;
      parts[std::string(expected.substr(1, expected.size() - 2))] = segment;
    } else if (expected != segment) {
      return std::nullopt;
    }
  }
  if (!pattern.empty() || !path.empty()) return std::nullopt;
  return parts;
}

bool answers(const Route& route, const std::string& method) {
  return route.method == method || (method == "HEAD" && route.method == "GET");
}

}  // namespace

void Router::add(Route route) { routes_.push_back(std::move(route)); }

std::string Router::methods(const std::string& path) const {
  std::string out;
  for (const Route& route : routes_) {
    if (match(route.pattern, path)) out += route.method + (route.method == "GET" ? ", HEAD, " : ", ");
  }
  return out.empty() ? out : out + "OPTIONS";
}

const Route& Router::find(Request& request) const {
  for (const Route& route : routes_) {
    if (!answers(route, request.method)) continue;
    if (auto parts = match(route.pattern, request.path)) {
      request.path_parts = std::move(*parts);
      request.route = route.pattern;
      return route;
    }
  }
  const std::string known = methods(request.path);
  if (!known.empty()) {
    throw Refusal(405, concat("this path answers to ", known, ", not to ", request.method.substr(0, 32)));
  }
  throw Refusal(404, concat("there is nothing at ", request.path.substr(0, 200)));
}

}  // namespace glmimage::serve
