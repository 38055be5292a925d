#include "hub/list_from.h"

#include <algorithm>
#include <cctype>

#include "core/error.h"
#include "core/shallow_json.h"

namespace glmimage::hub {

using nlohmann::json;

TextAnswer ListingTools::get(const std::string& url, const std::string& what) const {
  return get_text(
      client,
      {.url = url, .headers = source.secret_headers(), .asked = source.asked(what + " (" + shown_url(url) + ")")},
      retries, cancelled);
}

void reject_listing(const std::string& url, const std::string& why) {
  fail(ErrorKind::io, shown_url(url), ": the list of files cannot be read: ", why, "; is this the right place?");
}

json parse_listing(const std::string& url, const std::string& body) {
  json value = parse_shallow_json(body);
  if (value.is_discarded()) reject_listing(url, "it is not JSON");
  return value;
}

std::string text_in(const json& object, const char* field) {
  const auto at = object.is_object() ? object.find(field) : object.end();
  return at != object.end() && at->is_string() ? at->get<std::string>() : "";
}

int64_t size_in(const json& object, const char* field) {
  const auto at = object.is_object() ? object.find(field) : object.end();
  if (at == object.end() || !at->is_number_unsigned()) return -1;
  return at->get<uint64_t>() <= static_cast<uint64_t>(INT64_MAX) ? at->get<int64_t>() : -1;
}

std::string hex_of(const std::string& text, size_t digits) {
  if (text.size() != digits) return "";
  std::string out = text;
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out.find_first_not_of("0123456789abcdef") == std::string::npos ? out : "";
}

}  // namespace glmimage::hub
