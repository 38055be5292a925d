#include "cli/lora_option.h"

#include <charconv>
#include <cmath>
#include <filesystem>
#include <optional>
#include <system_error>

#include "core/error.h"

namespace glmimage::cli {
namespace {

bool exists(const std::string& path) {
  std::error_code error;
  return std::filesystem::exists(path, error);
}

std::optional<double> finite_number(const std::string& text) {
  const char* begin = text.data() + (text.starts_with('+') ? 1 : 0);
  double value = 0;
  const auto [end, fault] = std::from_chars(begin, text.data() + text.size(), value);
  if (fault != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) return std::nullopt;
  return value;
}

}  // namespace

LoraChoice parse_lora(const std::string& text) {
  if (exists(text)) return {text, 1};
  const size_t colon = text.rfind(':');
  const std::string file = text.substr(0, colon);
  if (!exists(file)) {
    fail(ErrorKind::checkpoint, file, ": there is no such file; --lora names an adapter, with :SCALE behind it");
  }
  const std::string scale = text.substr(colon + 1);  // there is a colon, or the first test had found the file
  const std::optional<double> value = finite_number(scale);
  if (!value) fail(ErrorKind::usage, "--lora ", text, ": the scale '", scale, "' is not a number");
  return {file, *value};
}

}  // namespace glmimage::cli
