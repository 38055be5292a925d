#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace glmimage {

// JSON out of a file that anybody may have written: discarded (`is_discarded()`) when it is no JSON, and also when it
// is nested deeper than any of ours, as writing it out again takes the stack as deep.
template <typename Json = nlohmann::json>
Json parse_shallow_json(const std::string& text) {
  constexpr int kMostDepth = 32;
  bool deep = false;
  const auto watch = [&deep](int depth, nlohmann::detail::parse_event_t, Json&) {
    deep = deep || depth > kMostDepth;
    return !deep;
  };
  Json value = Json::parse(text, watch, /*allow_exceptions=*/false);
  return deep ? Json(nlohmann::detail::value_t::discarded) : value;
}

}  // namespace glmimage
