#include "cli/memory_option.h"

#include <charconv>
#include <cmath>
#include <optional>
#include <system_error>

#include "core/error.h"

namespace glmimage::cli {
namespace {

std::string lower(std::string text) {
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return text;
}

// Bytes of a unit; a lone letter is the binary one.
std::optional<double> unit_bytes(const std::string& unit) {
  const std::string letters = "kmgt";
  const size_t power = unit.empty() ? std::string::npos : letters.find(unit[0]);
  if (power == std::string::npos) return std::nullopt;
  const std::string rest = unit.substr(1);
  if (rest.empty() || rest == "ib") return std::pow(1024.0, static_cast<double>(power + 1));
  if (rest == "b") return std::pow(1000.0, static_cast<double>(power + 1));
  return std::nullopt;
}

}  // namespace

MemoryLimit parse_memory(const std::string& text) {
  const std::string word = lower(text);
  if (word == "auto") return {};
  if (word == "low") return {.kind = MemoryLimit::Kind::low};
  double value = 0;
  const char* const last = word.data() + word.size();
  const auto [end, fault] = std::from_chars(word.data(), last, value, std::chars_format::fixed);
  std::string unit(fault == std::errc() ? end : last, last);
  if (!unit.empty() && unit[0] == ' ') unit.erase(0, 1);
  const std::optional<double> factor = fault == std::errc() ? unit_bytes(unit) : std::nullopt;
  if (!factor || !(value > 0) || value * *factor >= 1e18) {
    fail(ErrorKind::usage, "--memory ", text, ": expected auto, low, or a size such as 6GiB or 500MiB");
  }
  return {.kind = MemoryLimit::Kind::budget, .bytes = static_cast<int64_t>(value * *factor)};
}

}  // namespace glmimage::cli
