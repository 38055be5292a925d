#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace glmimage {

// One JSON object of a configuration file. Every accessor throws ErrorKind::checkpoint naming the file and the field
// when the field is missing or of another type; the *_or forms accept a missing (or null) field.
class JsonObject {
 public:
  // Reads and parses a file. Throws when it cannot be read, is not JSON or is not an object.
  static JsonObject open(const std::filesystem::path& file);
  JsonObject(std::filesystem::path file, std::string prefix, nlohmann::json value);

  bool has(const std::string& field) const;  // present and not null
  int64_t integer(const std::string& field) const;
  int64_t integer_or(const std::string& field, int64_t fallback) const;
  int64_t positive(const std::string& field) const;  // an integer > 0, at most 2^31
  int64_t layers(
      const std::string& field) const;  // an integer > 0, at most 4096 (they are made before weights are read)
  double number(const std::string& field) const;
  double number_or(const std::string& field, double fallback) const;
  bool boolean(const std::string& field) const;
  bool boolean_or(const std::string& field, bool fallback) const;
  std::string text(const std::string& field) const;
  std::string text_or(const std::string& field, const std::string& fallback) const;
  std::vector<int64_t> integers(const std::string& field) const;
  std::vector<double> numbers(const std::string& field) const;
  JsonObject object(const std::string& field) const;

  const nlohmann::json& value() const { return value_; }
  const std::filesystem::path& file() const { return file_; }
  // Throws an Error about this field: "<file>: field '<prefix><field>' <what>".
  [[noreturn]] void reject(const std::string& field, const std::string& what) const;

 private:
  const nlohmann::json& at(const std::string& field) const;
  std::filesystem::path file_;
  std::string prefix_;
  nlohmann::json value_;
};

// Writes indented JSON, creating the folder. Throws ErrorKind::io when the folder or the disk refuses.
void write_json_file(const std::filesystem::path& file, const nlohmann::json& content);

}  // namespace glmimage
