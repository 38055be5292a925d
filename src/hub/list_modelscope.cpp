#include <string>

#include "core/error.h"
#include "hub/file_names.h"
#include "hub/list_from.h"
#include "hub/url.h"

namespace glmimage::hub {
namespace {

using nlohmann::json;

// The server cuts longer lists off without a word.
constexpr size_t kListLimit = 3000;

}  // namespace

Listing list_modelscope(const ListingTools& tools) {
  const Source& source = tools.source;
  Listing out{.source = "modelscope",
              .place = shown_url(source.endpoint) + "/models/" + source.id,
              .revision = source.revision,
              .commit = {},
              .files = {}};
  const std::string api = source.endpoint + "/api/v1/models/" + source.id + "/repo";
  const std::string revision = "Revision=" + escape(source.revision);
  const std::string url = api + "/files?" + revision + "&Recursive=True";
  const json answer = parse_listing(url, tools.get(url, source.id + " at " + source.revision).body);
  // Faults may come with status 200.
  if (!answer.is_object() || !answer.value("Success", json(true)).is_boolean() ||
      !answer.value("Success", json(true)).get<bool>()) {
    fail(ErrorKind::usage, source.id, " at ", source.revision, " (", shown_url(url),
         "): the server says: ", shown_name(text_in(answer, "Message")));
  }
  const json data = answer.value("Data", json());
  const json files = data.is_object() ? data.value("Files", json()) : data;
  if (!files.is_array()) reject_listing(url, "it is no list");
  if (files.size() >= kListLimit) reject_listing(url, "it has 3000 entries or more, where the server cuts lists off");
  for (const json& entry : files) {
    if (text_in(entry, "Type") == "tree") continue;
    RemoteFile file;
    file.name = text_in(entry, "Path");
    file.size = size_in(entry, "Size");
    file.sha256 = hex_of(text_in(entry, "Sha256"), 64);
    if (file.size < 0 || file.sha256.empty()) {
      reject_listing(url, "'" + shown_name(file.name) + "' has no size or no digest");
    }
    file.url = concat(api, "?", revision, "&FilePath=", escape(file.name));
    out.files.push_back(std::move(file));
  }
  return out;
}

}  // namespace glmimage::hub
