#include <string>

#include "core/error.h"
#include "hub/file_names.h"
#include "hub/list_from.h"
#include "hub/url.h"

namespace glmimage::hub {
namespace {

using nlohmann::json;

constexpr size_t kMostFiles = 100000;

// The address of the next page, from `Link: <https://…>; rel="next"`; empty: this was the last one.
std::string next_page(const std::string& url, const HttpHead& head) {
  const std::string link = head.header("link");
  const size_t open = link.find('<'), close = link.find('>', open);
  if (open == std::string::npos || close == std::string::npos) return "";
  if (link.find("rel=\"next\"", close) == std::string::npos) return "";
  std::string next = follow_link(url, link.substr(open + 1, close - open - 1));
  if (!Url::parse(next).same_origin(Url::parse(url))) reject_listing(url, "its next page is on another server");
  return next;
}

RemoteFile file_of(const json& entry, const std::string& url, const std::string& resolve) {
  RemoteFile file;
  file.name = text_in(entry, "path");
  const json lfs = entry.value("lfs", json());
  file.size = size_in(lfs.is_object() ? lfs : entry, "size");
  // Large files are named by their content's SHA-256, small ones as git names them.
  if (lfs.is_object()) file.sha256 = hex_of(text_in(lfs, "oid"), 64);
  if (!lfs.is_object()) file.git_sha1 = hex_of(text_in(entry, "oid"), 40);
  if (file.size < 0 || !file.has_digest()) {
    reject_listing(url, "'" + shown_name(file.name) + "' has no size or no digest");
  }
  file.url = resolve + escape_path(file.name);
  return file;
}

}  // namespace

Listing list_huggingface(const ListingTools& tools) {
  const Source& source = tools.source;
  Listing out{.source = "huggingface",
              .place = shown_url(source.endpoint) + "/" + source.id,
              .revision = source.revision,
              .commit = {},
              .files = {}};
  const std::string api = source.endpoint + "/api/models/" + source.id, what = source.id + " at " + source.revision;
  const std::string info_url = api + "/revision/" + escape(source.revision);
  out.commit = hex_of(text_in(parse_listing(info_url, tools.get(info_url, what).body), "sha"), 40);
  if (out.commit.empty()) reject_listing(info_url, "it names no commit");

  // From here on all is asked of the commit, so that a branch which moves meanwhile cannot mix two contents.
  const std::string resolve = source.endpoint + "/" + source.id + "/resolve/" + out.commit + "/";
  for (std::string url = api + "/tree/" + out.commit + "?recursive=true"; !url.empty();) {
    const TextAnswer answer = tools.get(url, what);
    const json entries = parse_listing(url, answer.body);
    if (!entries.is_array()) reject_listing(url, "it is no list");
    for (const json& entry : entries) {
      if (text_in(entry, "type") == "file") out.files.push_back(file_of(entry, url, resolve));
    }
    if (out.files.size() > kMostFiles) reject_listing(url, "it has more than 100000 files");
    const std::string next = entries.empty() ? "" : next_page(url, answer.head);
    if (next == url) reject_listing(url, "its next page is the same again");
    url = next;
  }
  return out;
}

}  // namespace glmimage::hub
