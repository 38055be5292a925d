#include <algorithm>
#include <sstream>
#include <string>

#include "core/error.h"
#include "hub/file_names.h"
#include "hub/list_from.h"
#include "hub/url.h"

namespace glmimage::hub {
namespace {

constexpr const char* kSums = "SHA256SUMS";

// Size, and by what a later answer is known to be of the same content, from the head of an answer.
void look_at(const ListingTools& tools, RemoteFile& file) {
  const TextAnswer answer = get_text(tools.client,
                                     {.url = file.url,
                                      .headers = {"Accept-Encoding: identity"},
                                      .asked = tools.source.asked(shown_url(file.url)),
                                      .head_only = true},
                                     tools.retries, tools.cancelled);
  file.size = answer.head.length();
  if (file.has_digest()) return;
  const std::string etag = answer.head.header("etag");
  file.validator = etag.starts_with("W/") ? "" : etag;
  if (file.validator.empty()) file.validator = answer.head.header("last-modified");
  // It is sent back, and written down.
  const auto printable = [](unsigned char c) { return c >= 32 && c < 127; };
  if (!std::all_of(file.validator.begin(), file.validator.end(), printable)) file.validator.clear();
}

// "<64 hex digits>  name" or "… *name" a line, as sha256sum writes.
RemoteFile file_of(const std::string& line, const std::string& url) {
  RemoteFile file;
  file.sha256 = hex_of(line.substr(0, 64), 64);
  const bool named = line.size() > 66 && line[64] == ' ' && (line[65] == ' ' || line[65] == '*');
  if (file.sha256.empty() || !named) {
    reject_listing(url, "the line '" + shown_name(line) + "' is not one that sha256sum writes");
  }
  file.name = line.substr(66);
  if (file.name.starts_with("./")) file.name.erase(0, 2);
  return file;
}

Listing list_folder(const ListingTools& tools) {
  Listing out{.source = "url", .place = shown_url(tools.source.endpoint), .revision = {}, .commit = {}, .files = {}};
  const std::string url = tools.source.endpoint + kSums;
  std::istringstream lines;
  try {
    lines.str(tools.get(url, "the folder's list of files").body);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::usage) throw;
    fail(ErrorKind::usage, error.what(), " (a folder needs such a list, made in it by: find . -type f -not -name ",
         kSums, " -exec sha256sum {} + > ", kSums, ")");
  }
  for (std::string line; std::getline(lines, line);) {
    if (line.ends_with('\r')) line.pop_back();
    if (line.empty()) continue;
    RemoteFile file = file_of(line, url);
    if (file.name == kSums) continue;
    check_file_name(file.name);  // before it becomes part of an address
    file.url = tools.source.endpoint + escape_path(file.name);
    out.files.push_back(std::move(file));
  }
  for (RemoteFile& file : out.files) look_at(tools, file);
  return out;
}

}  // namespace

Listing list_url(const ListingTools& tools) {
  const std::string& address = tools.source.endpoint;
  const Url url = Url::parse(address);
  if (url.path.ends_with('/') && address.ends_with('/')) return list_folder(tools);
  RemoteFile file;
  file.name = url.path.substr(url.path.rfind('/') + 1);
  file.url = address;
  if (file.name.empty()) fail(ErrorKind::usage, shown_url(address), ": the address names no file");
  look_at(tools, file);
  return {.source = "url", .place = shown_url(address), .revision = {}, .commit = {}, .files = {file}};
}

}  // namespace glmimage::hub
