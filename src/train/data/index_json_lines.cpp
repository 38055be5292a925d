#include <fstream>
#include <utility>

#include "core/error.h"
#include "train/data/admission.h"
#include "train/data/captions.h"

namespace glmimage::train {
namespace fs = std::filesystem;

namespace {

using nlohmann::json;

Picture picture_at(const fs::path& folder, const std::string& path) {
  return {path, Extent::of_file(folder / path), {}};
}

std::string image_of(const json& line, const std::string& name) {
  for (const char* field : {"image", "file_name"}) {
    const auto found = line.find(field);
    if (found != line.end() && found->is_string()) return found->get<std::string>();
  }
  fail(ErrorKind::usage, name, ": expected a field 'image' (or 'file_name') with the path of a picture");
}

std::vector<std::string> sources_of(const json& line, const std::string& name) {
  std::vector<std::string> paths;
  for (const char* field : {"source", "sources"}) {
    const auto found = line.find(field);
    if (found == line.end() || found->is_null()) continue;
    const json list = found->is_array() ? *found : json::array({*found});
    for (const json& item : list) {
      if (!item.is_string()) fail(ErrorKind::usage, name, ": field '", field, "' should be a path or a list of paths");
      paths.push_back(item.get<std::string>());
    }
  }
  return paths;
}

// The size a line gives, or none. A wrong one costs a wider crop, no more.
PictureSize size_of(const json& line, const std::string& name) {
  const auto width = line.find("width"), height = line.find("height");
  if (width == line.end() || height == line.end() || width->is_null() || height->is_null()) return {};
  const auto side = [&](const json& value) {
    if (!value.is_number_integer() || value.get<double>() < 1 || value.get<double>() > 1e9) {
      fail(ErrorKind::usage, name, ": 'width' and 'height' should be whole numbers of pixels");
    }
    return value.get<int64_t>();
  };
  return {side(*width), side(*height)};
}

}  // namespace

void index_json_lines(const fs::path& file, Admission& admission) {
  std::ifstream lines(file, std::ios::binary);
  if (!lines) fail(ErrorKind::usage, file.native(), ": this list cannot be read");
  const fs::path folder = file.parent_path();
  std::string text;
  for (int64_t number = 1; std::getline(lines, text); ++number) {
    if (number == 1 && text.starts_with("\xEF\xBB\xBF")) text.erase(0, 3);
    if (text.find_first_not_of(" \t\r") == std::string::npos) continue;
    const std::string name = concat(file.filename().native(), ":", number);
    Record record;
    std::vector<std::string> sources;
    std::string image;
    try {
      const json line = parse_json_object(text, name);
      image = image_of(line, name);
      sources = sources_of(line, name);
      record.captions = captions_of_json(line, name);
      record.repeats = repeats_of_json(line, name);
      record.target.size = size_of(line, name);
    } catch (const Error& error) {
      admission.skip(Skip::bad_entry, name, error.what());
      continue;
    }
    try {
      const PictureSize size = record.target.size;
      record.target = picture_at(folder, image);
      record.target.size = size;
      for (const std::string& path : sources) record.sources.push_back(picture_at(folder, path));
    } catch (const Error& error) {
      admission.skip(Skip::unreadable, name, error.what());
      continue;
    }
    admission.consider(std::move(record));
  }
  if (lines.bad()) fail(ErrorKind::usage, file.native(), ": reading this list failed");
}

}  // namespace glmimage::train
