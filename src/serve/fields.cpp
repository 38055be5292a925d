#include "serve/fields.h"

#include <charconv>
#include <cmath>
#include <system_error>

#include "text/utf8.h"

namespace glmimage::serve {
namespace {

using nlohmann::json;

// The whole text as a number; unset when it is none.
template <typename Number>
std::optional<Number> parse_number(const std::string& text) {
  Number value = 0;
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (fault != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string shortened(std::string text) {
  if (text.size() <= 100) return text;
  text.resize(100);
  return replace_invalid_utf8(text) + "…";
}

template <typename Number>
void check_range(const std::string& name, Number value, Number least, Number most) {
  if (value >= least && value <= most) return;
  throw Refusal(400, concat("'", name, "' must be between ", least, " and ", most, ", not ", value), name);
}

}  // namespace

size_t count_characters(std::string_view utf8) {
  size_t count = 0;
  for (const char c : utf8) count += (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  return count;
}

Fields Fields::parse(const std::string& body) {
  json value = json::parse(body, nullptr, false);
  if (value.is_discarded()) throw Refusal(400, "the body is no valid JSON", "", "invalid_json");
  if (!value.is_object()) throw Refusal(400, "the body should be a JSON object", "", "invalid_json");
  return {std::move(value), Origin::json};
}

const json* Fields::find(const std::string& name) {
  known_.insert(name);
  const auto found = object_.find(name);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

void Fields::wrong_type(const std::string& name, const char* expected, const json& value) const {
  throw Refusal(400, concat("'", name, "' should be ", expected, ", not ", shortened(to_text(value))), name,
                "invalid_type");
}

std::optional<std::string> Fields::text(const std::string& name, size_t most_characters) {
  const json* value = find(name);
  if (!value) return std::nullopt;
  if (!value->is_string()) wrong_type(name, "text", *value);
  std::string out = value->get<std::string>();
  if (find_invalid_utf8(out) != std::string::npos) throw Refusal(400, concat("'", name, "' is no valid UTF-8"), name);
  if (out.find('\0') != std::string::npos) throw Refusal(400, concat("'", name, "' holds a zero byte"), name);
  const size_t characters = count_characters(out);
  if (characters > most_characters) {
    throw Refusal(400, concat("'", name, "' has ", characters, " characters; at most ", most_characters, " are taken"),
                  name, "string_above_max_length");
  }
  return out;
}

std::optional<std::string> Fields::one_of(const std::string& name, const std::vector<std::string_view>& allowed) {
  const std::optional<std::string> value = text(name);
  if (!value) return value;
  std::string list;
  for (const std::string_view each : allowed) {
    if (*value == each) return value;
    list += concat(list.empty() ? "" : ", ", each);
  }
  throw Refusal(400, concat("'", name, "' should be one of ", list, ", not '", shortened(*value), "'"), name);
}

std::optional<int64_t> Fields::integer(const std::string& name, int64_t least, int64_t most) {
  const json* value = find(name);
  if (!value) return std::nullopt;
  std::optional<int64_t> out;
  if (origin_ == Origin::form) {
    out = parse_number<int64_t>(value->get<std::string>());
  } else if (value->is_number_unsigned() && value->get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) {
    check_range<double>(name, value->get<double>(), static_cast<double>(least), static_cast<double>(most));
  } else if (value->is_number_integer()) {
    out = value->get<int64_t>();
  } else if (value->is_number_float() && std::abs(value->get<double>()) < 1e15 &&
             value->get<double>() == std::trunc(value->get<double>())) {
    out = static_cast<int64_t>(value->get<double>());  // JSON knows one kind of number: 2.0 is 2
  }
  if (!out) wrong_type(name, "an integer", *value);
  check_range(name, *out, least, most);
  return out;
}

std::optional<double> Fields::number(const std::string& name, double least, double most) {
  const json* value = find(name);
  if (!value) return std::nullopt;
  std::optional<double> out;
  if (origin_ == Origin::form) {
    out = parse_number<double>(value->get<std::string>());
  } else if (value->is_number()) {
    out = value->get<double>();
  }
  if (!out || !std::isfinite(*out)) wrong_type(name, "a number", *value);
  check_range(name, *out, least, most);
  return out;
}

std::optional<bool> Fields::boolean(const std::string& name) {
  const json* value = find(name);
  if (!value) return std::nullopt;
  if (value->is_boolean()) return value->get<bool>();
  if (origin_ == Origin::form) {
    const std::string text = value->get<std::string>();
    if (text == "true" || text == "True" || text == "1") return true;
    if (text == "false" || text == "False" || text == "0") return false;
  }
  wrong_type(name, "true or false", *value);
}

const json& Fields::raw(const std::string& name) {
  static const json nothing;
  const json* value = find(name);
  return value ? *value : nothing;
}

void Fields::refuse_unknown() const {
  for (const auto& [name, value] : object_.items()) {
    if (known_.contains(name)) continue;
    throw Refusal(400, concat("this request has no field '", shortened(name), "'"), shortened(name),
                  "unknown_parameter");
  }
}

}  // namespace glmimage::serve
