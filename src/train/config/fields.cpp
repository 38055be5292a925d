#include "train/config/fields.h"

#include <algorithm>
#include <cmath>

#include "text/edit_distance.h"

namespace glmimage::train {
namespace {

using nlohmann::json;

// The field whose name is nearest, if it is near enough to be meant. A name without its section is near too.
std::string nearest(const std::vector<Field>& fields, const std::string& name) {
  std::string best;
  int64_t least = 1 + std::max<int64_t>(2, static_cast<int64_t>(name.size()) / 3);
  for (const Field& field : fields) {
    const std::string last = field.name.substr(field.name.rfind('.') + 1);
    const int64_t distance = std::min(edit_distance(name, field.name), edit_distance(name, last) + 1);
    if (distance < least) {
      least = distance;
      best = field.name;
    }
  }
  return best;
}

template <typename Value>
std::vector<Value> list_of(const json& value, const char* expected) {
  if (!value.is_array()) fail(ErrorKind::usage, expected);
  std::vector<Value> out;
  for (const json& item : value) {
    const bool fits = std::is_same_v<Value, std::string> ? item.is_string() : item.is_number_integer();
    if (!fits) fail(ErrorKind::usage, expected);
    out.push_back(item.get<Value>());
  }
  return out;
}

}  // namespace

void FieldList::add(const std::string& name, double& value, const std::string& help, double low, double high) {
  fields_.push_back({name, help, [&value] { return json(value); },
                     [&value, low, high](const json& given) {
                       const double number = given.is_number() ? given.get<double>() : NAN;
                       if (!(number >= low && number <= high)) {
                         fail(ErrorKind::usage, "expected a number from ", low, " to ", high);
                       }
                       value = number;
                     }});
}

void FieldList::add(const std::string& name, int64_t& value, const std::string& help, int64_t low, int64_t high) {
  fields_.push_back({name, help, [&value] { return json(value); },
                     [&value, low, high](const json& given) {
                       if (!given.is_number_integer() || given.get<int64_t>() < low || given.get<int64_t>() > high) {
                         fail(ErrorKind::usage, "expected a whole number from ", low, " to ", high);
                       }
                       value = given.get<int64_t>();
                     }});
}

void FieldList::add(const std::string& name, uint64_t& value, const std::string& help) {
  fields_.push_back({name, help, [&value] { return json(value); },
                     [&value](const json& given) {
                       if (!given.is_number_unsigned()) fail(ErrorKind::usage, "expected a whole number from 0");
                       value = given.get<uint64_t>();
                     }});
}

void FieldList::add(const std::string& name, bool& value, const std::string& help) {
  fields_.push_back({name, help, [&value] { return json(value); },
                     [&value](const json& given) {
                       if (!given.is_boolean()) fail(ErrorKind::usage, "expected true or false");
                       value = given.get<bool>();
                     }});
}

void FieldList::add(const std::string& name, std::string& value, const std::string& help) {
  fields_.push_back({name, help, [&value] { return json(value); },
                     [&value](const json& given) {
                       if (!given.is_string()) fail(ErrorKind::usage, "expected text");
                       value = given.get<std::string>();
                     }});
}

void FieldList::add(const std::string& name, std::vector<std::string>& value, const std::string& help) {
  fields_.push_back({name, help, [&value] { return json(value); },
                     [&value](const json& given) { value = list_of<std::string>(given, "expected a list of texts"); }});
}

void FieldList::add(const std::string& name, std::vector<int64_t>& value, const std::string& help) {
  fields_.push_back(
      {name, help, [&value] { return json(value); },
       [&value](const json& given) { value = list_of<int64_t>(given, "expected a list of whole numbers"); }});
}

json FieldList::to_json() const {
  json out = json::object();
  for (const Field& field : fields_) {
    json* place = &out;
    size_t begin = 0;
    for (size_t dot = field.name.find('.'); dot != std::string::npos; dot = field.name.find('.', begin)) {
      place = &(*place)[field.name.substr(begin, dot - begin)];
      begin = dot + 1;
    }
    (*place)[field.name.substr(begin)] = field.get();
  }
  return out;
}

const Field& FieldList::find(const std::string& name, const std::string& origin) const {
  const auto named = [&](const Field& field) { return field.name == name; };
  if (const auto found = std::find_if(fields_.begin(), fields_.end(), named); found != fields_.end()) return *found;
  const std::string near = nearest(fields_, name);
  fail(ErrorKind::usage, origin, ": there is no setting '", name, "'",
       near.empty() ? "; `glm-image train --list-settings` names them all" : concat("; did you mean '", near, "'?"));
}

void FieldList::read_below(const json& json, const std::string& prefix, const std::string& origin) const {
  for (const auto& [key, value] : json.items()) {
    const std::string name = prefix + key;
    const auto inside = [&](const Field& field) { return field.name.rfind(name + ".", 0) == 0; };
    if (value.is_object() && std::any_of(fields_.begin(), fields_.end(), inside)) {
      read_below(value, name + ".", origin);
      continue;
    }
    const Field& field = find(name, origin);
    try {
      field.set(value);
    } catch (const Error& error) {
      fail(ErrorKind::usage, origin, ": '", name, "' is ", value.dump(), "; ", error.what());
    }
  }
}

void FieldList::read(const json& json, const std::string& origin) const {
  if (!json.is_object()) fail(ErrorKind::usage, origin, ": expected a JSON object");
  read_below(json, "", origin);
}

void FieldList::set(const std::string& assignment) const {
  const size_t equals = assignment.find('=');
  if (equals == 0 || equals == std::string::npos) {
    fail(ErrorKind::usage, "--set ", assignment, ": expected NAME=VALUE, like --set learning_rate=0.001");
  }
  const std::string name = assignment.substr(0, equals), text = assignment.substr(equals + 1);
  json value = json::parse(text, nullptr, false);
  if (value.is_discarded()) value = text;
  const Field& field = find(name, "--set");
  try {
    field.set(value);
  } catch (const Error& error) {
    fail(ErrorKind::usage, "--set ", assignment, ": ", error.what());
  }
}

}  // namespace glmimage::train
