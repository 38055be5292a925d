#include "core/json.h"

#include <fstream>
#include <utility>

#include "core/error.h"
#include "core/files.h"

namespace glmimage {

using nlohmann::json;

namespace {

// nlohmann::json wraps an unsigned number above 2^63 around when asked for an int64_t.
bool fits_integer(const json& v) {
  return v.is_number_integer() && !(v.is_number_unsigned() && v.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX));
}

}  // namespace

JsonObject JsonObject::open(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream) {
    fail(ErrorKind::checkpoint, file.string(), ": cannot be opened; is this the folder of a GLM-Image checkpoint?");
  }
  json value;
  try {
    value = json::parse(stream);
  } catch (const json::exception& e) {
    fail(ErrorKind::checkpoint, file.string(), ": not valid JSON: ", e.what());
  }
  if (!value.is_object()) fail(ErrorKind::checkpoint, file.string(), ": expected a JSON object");
  return {file, "", std::move(value)};
}

JsonObject::JsonObject(std::filesystem::path file, std::string prefix, json value)
    : file_(std::move(file)), prefix_(std::move(prefix)), value_(std::move(value)) {}

void JsonObject::reject(const std::string& field, const std::string& what) const {
  fail(ErrorKind::checkpoint, file_.string(), ": field '", prefix_, field, "' ", what);
}

bool JsonObject::has(const std::string& field) const {
  auto it = value_.find(field);
  return it != value_.end() && !it->is_null();
}

const json& JsonObject::at(const std::string& field) const {
  if (!has(field)) reject(field, "is missing");
  return value_.at(field);
}

int64_t JsonObject::integer(const std::string& field) const {
  const json& v = at(field);
  if (!fits_integer(v)) reject(field, concat("should be an integer, not ", v.dump()));
  return v.get<int64_t>();
}

int64_t JsonObject::integer_or(const std::string& field, int64_t fallback) const {
  return has(field) ? integer(field) : fallback;
}

int64_t JsonObject::positive(const std::string& field) const {
  int64_t v = integer(field);
  if (v <= 0 || v > (int64_t{1} << 31)) reject(field, concat("should be a positive integer, not ", v));
  return v;
}

int64_t JsonObject::layers(const std::string& field) const {
  constexpr int64_t kMostLayers = 4096;
  const int64_t v = positive(field);
  if (v > kMostLayers) reject(field, concat("should be a number of layers, at most ", kMostLayers, ", not ", v));
  return v;
}

double JsonObject::number(const std::string& field) const {
  const json& v = at(field);
  if (!v.is_number()) reject(field, concat("should be a number, not ", v.dump()));
  return v.get<double>();
}

double JsonObject::number_or(const std::string& field, double fallback) const {
  return has(field) ? number(field) : fallback;
}

bool JsonObject::boolean(const std::string& field) const {
  const json& v = at(field);
  if (!v.is_boolean()) reject(field, concat("should be true or false, not ", v.dump()));
  return v.get<bool>();
}

bool JsonObject::boolean_or(const std::string& field, bool fallback) const {
  return has(field) ? boolean(field) : fallback;
}

std::string JsonObject::text(const std::string& field) const {
  const json& v = at(field);
  if (!v.is_string()) reject(field, concat("should be text, not ", v.dump()));
  return v.get<std::string>();
}

std::string JsonObject::text_or(const std::string& field, const std::string& fallback) const {
  return has(field) ? text(field) : fallback;
}

std::vector<int64_t> JsonObject::integers(const std::string& field) const {
  const json& v = at(field);
  if (!v.is_array()) reject(field, "should be a list of integers");
  std::vector<int64_t> out;
  for (const json& item : v) {
    if (!fits_integer(item)) reject(field, "should be a list of integers");
    out.push_back(item.get<int64_t>());
  }
  return out;
}

std::vector<double> JsonObject::numbers(const std::string& field) const {
  const json& v = at(field);
  if (!v.is_array()) reject(field, "should be a list of numbers");
  std::vector<double> out;
  for (const json& item : v) {
    if (!item.is_number()) reject(field, "should be a list of numbers");
    out.push_back(item.get<double>());
  }
  return out;
}

JsonObject JsonObject::object(const std::string& field) const {
  const json& v = at(field);
  if (!v.is_object()) reject(field, "should be an object");
  return {file_, prefix_ + field + ".", v};
}

void write_json_file(const std::filesystem::path& file, const json& content) {
  write_file(file, content.dump(1, ' ', false) + "\n");
}

}  // namespace glmimage
