#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"

namespace glmimage::train {

// Names of an enumeration's values, as JSON and the command line write them. Specialised beside each enumeration.
template <typename Enum>
struct EnumNames;  // static const std::vector<std::pair<const char*, Enum>> names;

// One setting of a structure: its dotted name, what it means, and how it is read and written. A structure names its
// settings once, in a function `fields(FieldList&, prefix)`; JSON files, --set and the list in --help all follow that.
struct Field {
  std::string name;  // "optimiser.weight_decay"
  std::string help;
  std::function<nlohmann::json()> get;
  // Throws ErrorKind::usage saying what was expected, without the field's name.
  std::function<void(const nlohmann::json&)> set;
};

// The settings of a structure. Points into it: use it while the structure stays where it is.
class FieldList {
 public:
  void add(const std::string& name, double& value, const std::string& help, double low, double high);
  void add(const std::string& name, int64_t& value, const std::string& help, int64_t low, int64_t high);
  void add(const std::string& name, uint64_t& value, const std::string& help);
  void add(const std::string& name, bool& value, const std::string& help);
  void add(const std::string& name, std::string& value, const std::string& help);
  void add(const std::string& name, std::vector<std::string>& value, const std::string& help);
  void add(const std::string& name, std::vector<int64_t>& value, const std::string& help);

  template <typename Enum>
  void add_choice(const std::string& name, Enum& value, const std::string& help) {
    const auto to_name = [&value]() -> nlohmann::json {
      for (const auto& [text, candidate] : EnumNames<Enum>::names) {
        if (candidate == value) return text;
      }
      fail(ErrorKind::internal, "a setting has a value without a name");
    };
    const auto from_name = [&value](const nlohmann::json& json) {
      std::string known;
      for (const auto& [text, candidate] : EnumNames<Enum>::names) {
        if (json.is_string() && json.get<std::string>() == text) {
          value = candidate;
          return;
        }
        known += concat(known.empty() ? "" : ", ", text);
      }
      fail(ErrorKind::usage, "expected one of ", known);
    };
    fields_.push_back({name, help, to_name, from_name});
  }

  const std::vector<Field>& fields() const { return fields_; }
  // Nested objects, one level for each dot.
  nlohmann::json to_json() const;
  // Sets what `json` holds; the rest keeps its value. Throws ErrorKind::usage naming `origin` (a file, or "--set"), the
  // field, what was expected and, for an unknown one, the nearest known name.
  void read(const nlohmann::json& json, const std::string& origin) const;
  // "optimiser.weight_decay=0.1": the value is JSON, or else text.
  void set(const std::string& assignment) const;

 private:
  const Field& find(const std::string& name, const std::string& origin) const;
  void read_below(const nlohmann::json& json, const std::string& prefix, const std::string& origin) const;
  std::vector<Field> fields_;
};

}  // namespace glmimage::train
