#include "train/data/captions.h"

#include <algorithm>
#include <string_view>

#include "core/error.h"
#include "text/utf8.h"

namespace glmimage::train {
namespace {

using nlohmann::json;

void add_caption(std::vector<std::string>& captions, std::string_view text) {
  text = without_leading_space(without_trailing_space(text));
  if (!text.empty()) captions.emplace_back(text);
}

}  // namespace

std::vector<std::string> captions_of_text(const std::string& text) {
  std::vector<std::string> captions;
  const std::string_view all = text;
  for (size_t begin = 0; begin < all.size();) {
    const size_t end = std::min(all.find('\n', begin), all.size());
    add_caption(captions, all.substr(begin, end - begin));  // a carriage return counts as white space
    begin = end + 1;
  }
  return captions;
}

std::vector<std::string> captions_of_json(const json& object, const std::string& name) {
  std::vector<std::string> captions;
  for (const char* field : {"caption", "captions", "text"}) {
    const auto found = object.find(field);
    if (found == object.end() || found->is_null()) continue;
    const json list = found->is_array() ? *found : json::array({*found});
    for (const json& item : list) {
      if (!item.is_string()) {
        fail(ErrorKind::usage, name, ": field '", field, "' should be a string or a list of strings, not ",
             found->dump().substr(0, 60));
      }
      add_caption(captions, item.get_ref<const std::string&>());
    }
    if (!captions.empty()) break;
  }
  return captions;
}

int64_t repeats_of_json(const json& object, const std::string& name) {
  const auto found = object.find("repeats");
  if (found == object.end() || found->is_null()) return 1;
  const bool whole = found->is_number_integer() && found->get<double>() >= 1 && found->get<double>() <= 10000;
  if (!whole) {
    fail(ErrorKind::usage, name, ": field 'repeats' should be a whole number from 1 to 10000, not ", found->dump());
  }
  return found->get<int64_t>();
}

json parse_json_object(const std::string& text, const std::string& name) {
  json value;
  try {
    value = json::parse(text);
  } catch (const json::exception& error) {
    fail(ErrorKind::usage, name, ": not valid JSON: ", error.what());
  }
  if (!value.is_object()) fail(ErrorKind::usage, name, ": expected a JSON object, not ", value.type_name());
  return value;
}

}  // namespace glmimage::train
