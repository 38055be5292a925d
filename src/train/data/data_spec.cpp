#include "train/data/data_spec.h"

#include <charconv>
#include <cmath>
#include <system_error>

#include "core/error.h"

namespace glmimage::train {
namespace {

constexpr size_t kMostNames = 100000;

bool is_path(const std::string& text) {
  std::error_code error;
  return std::filesystem::exists(text, error);
}

DataSpec parse_one(const std::string& text) {
  const size_t at = text.rfind('@');
  if (at == std::string::npos || is_path(text)) return {text, std::nullopt};
  const char *begin = text.data() + at + 1, *end = text.data() + text.size();
  double weight = 0;
  const auto [stop, error] = std::from_chars(begin, end, weight);
  if (error != std::errc() || stop != end) return {text, std::nullopt};  // an @ of the name
  if (!(weight > 0) || !std::isfinite(weight)) {
    fail(ErrorKind::usage, "--data ", text, ": a weight is a number above 0, like ", text.substr(0, at), "@0.5");
  }
  return {text.substr(0, at), weight};
}

std::vector<std::string> split_at_commas(const std::string& text) {
  std::vector<std::string> parts(1);
  int depth = 0;
  for (char c : text) {
    depth += c == '{' ? 1 : c == '}' ? -1 : 0;
    if (c == ',' && depth <= 0) {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

// What stands between two braces: "0000..0009" or "a,b,c".
std::vector<std::string> alternatives(const std::string& inner, const std::string& pattern) {
  const size_t dots = inner.find("..");
  if (dots == std::string::npos) {
    std::vector<std::string> list = split_at_commas(inner);
    if (list.size() < 2) fail(ErrorKind::usage, pattern, ": expected {0000..0009} or {a,b}, not {", inner, "}");
    return list;
  }
  const auto number = [&](const std::string& digits) {
    int64_t value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error != std::errc() || end != digits.data() + digits.size() || value < 0) {
      fail(ErrorKind::usage, pattern, ": expected two whole numbers, as in {0000..0009}, not {", inner, "}");
    }
    return value;
  };
  const std::string first = inner.substr(0, dots), last = inner.substr(dots + 2);
  const int64_t low = number(first), high = number(last);
  if (high < low) fail(ErrorKind::usage, pattern, ": in {", inner, "} the second number is the smaller one");
  if (high - low >= static_cast<int64_t>(kMostNames)) {
    fail(ErrorKind::usage, pattern, ": stands for more than ", kMostNames, " names");
  }
  std::vector<std::string> list;
  for (int64_t value = low; value <= high; ++value) {
    const std::string digits = std::to_string(value);
    list.push_back(std::string(first.size() > digits.size() ? first.size() - digits.size() : 0, '0') + digits);
  }
  return list;
}

}  // namespace

std::vector<DataSpec> parse_data_specs(const std::vector<std::string>& values) {
  std::vector<DataSpec> specs;
  for (const std::string& value : values) {
    for (const std::string& part : is_path(value) ? std::vector{value} : split_at_commas(value)) {
      specs.push_back(parse_one(part));
      if (specs.back().source.empty()) {
        fail(ErrorKind::usage, "--data '", value, "': a source is empty; expected SRC[@weight][,SRC[@weight]…]");
      }
    }
  }
  return specs;
}

std::vector<std::string> expand_braces(const std::string& pattern) {
  const size_t open = pattern.find('{');
  if (open == std::string::npos) return {pattern};
  const size_t close = pattern.find('}', open);
  if (close == std::string::npos) fail(ErrorKind::usage, pattern, ": a brace is not closed");
  const std::vector<std::string> rests = expand_braces(pattern.substr(close + 1));
  std::vector<std::string> names;
  for (const std::string& middle : alternatives(pattern.substr(open + 1, close - open - 1), pattern)) {
    for (const std::string& rest : rests) {
      if (names.size() >= kMostNames) fail(ErrorKind::usage, pattern, ": stands for more than ", kMostNames, " names");
      names.push_back(pattern.substr(0, open) + middle + rest);
    }
  }
  return names;
}

}  // namespace glmimage::train
