#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "serve/refusal.h"

namespace glmimage::serve {

// The fields of a request, from a JSON object or from a form, whose values are all text. Every accessor throws Refusal
// (400) that names the field when it is of another type or out of range; a missing or null one is unset.
class Fields {
 public:
  enum class Origin { json, form };
  Fields(nlohmann::json object, Origin origin) : object_(std::move(object)), origin_(origin) {}
  // Throws Refusal when the body is not JSON, or no object.
  static Fields parse(const std::string& body);

  std::optional<std::string> text(const std::string& name, size_t most_characters = 4096);
  std::optional<std::string> one_of(const std::string& name, const std::vector<std::string_view>& allowed);
  std::optional<int64_t> integer(const std::string& name, int64_t least, int64_t most);
  std::optional<double> number(const std::string& name, double least, double most);
  std::optional<bool> boolean(const std::string& name);
  // A JSON value as it stands; null when it is missing.
  const nlohmann::json& raw(const std::string& name);

  // Throws Refusal naming the first field that no accessor asked for.
  void refuse_unknown() const;
  const nlohmann::json& object() const { return object_; }

 private:
  const nlohmann::json* find(const std::string& name);
  [[noreturn]] void wrong_type(const std::string& name, const char* expected, const nlohmann::json& value) const;

  nlohmann::json object_;
  Origin origin_;
  std::set<std::string> known_;
};

// The number of Unicode characters of valid UTF-8.
size_t count_characters(std::string_view utf8);

}  // namespace glmimage::serve
