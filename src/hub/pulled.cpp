#include "hub/pulled.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>

#include "core/cache_folder.h"
#include "core/error.h"
#include "core/json.h"
#include "hub/own_files.h"

namespace glmimage::hub {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// Size, date in nanoseconds and content of a file; null: no such regular file.
json note_of(const fs::path& path, const RemoteFile& file) {
  struct stat info = {};
  if (::stat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) return nullptr;
  const auto date = int64_t{info.st_mtim.tv_sec} * 1000000000 + info.st_mtim.tv_nsec;
  json note = {{"size", int64_t{info.st_size}}, {"modified_ns", date}};
  // A plain address lists no digest; what was computed when it came is no part of what it listed.
  if (!file.validator.empty()) {
    note["validator"] = file.validator;
  } else if (!file.git_sha1.empty()) {
    note["git_sha1"] = file.git_sha1;
  } else {
    note["sha256"] = file.sha256;
  }
  return note;
}

bool is_name(const std::string& model) {
  const size_t slash = model.find('/');
  return slash != std::string::npos && slash > 0 && model.find('/', slash + 1) == std::string::npos &&
         slash + 1 < model.size() && model.front() != '.' && model.front() != '~';
}

}  // namespace

Pulled Pulled::open(const fs::path& folder) {
  Pulled out;
  out.folder_ = folder;
  std::ifstream stream(folder / kOwnFolder / kPulledName, std::ios::binary);
  const json value = json::parse(stream, nullptr, false);
  if (!value.is_object()) return out;
  out.place_ = value.value("place", json());
  if (const json files = value.value("files", json()); files.is_object()) out.files_ = files;
  const json complete = value.value("complete", json());
  out.complete = complete.is_boolean() && complete.get<bool>();
  return out;
}

void Pulled::write() const {
  write_json_file(folder_ / kOwnFolder / kPulledName, {{"place", place_}, {"complete", complete}, {"files", files_}});
}

bool Pulled::has(const RemoteFile& file) const {
  const auto at = files_.find(file.name);
  if (at == files_.end() || (!file.has_digest() && file.validator.empty())) return false;
  const json note = note_of(folder_ / file.name, file);
  return note == *at && (file.size < 0 || note["size"] == file.size);
}

void Pulled::add(const RemoteFile& file) { files_[file.name] = note_of(folder_ / file.name, file); }

void Pulled::set_place(const Listing& listing) {
  place_ = {{"source", listing.source},
            {"address", listing.place},
            {"revision", listing.revision},
            {"commit", listing.commit}};
}

fs::path default_folder(const std::string& id) {
  if (const auto cache = cache_folder()) return *cache / "models" / id;
  fail(ErrorKind::usage, "neither HOME nor XDG_CACHE_HOME is set; name a folder to pull into");
}

std::string find_model(const std::string& model) {
  std::error_code ignored;
  if (!is_name(model) || fs::exists(model, ignored)) return model;
  if (!std::getenv("HOME") && !std::getenv("XDG_CACHE_HOME")) return model;
  const fs::path folder = default_folder(model);
  if (!fs::exists(folder / kOwnFolder, ignored)) return model;
  if (!Pulled::open(folder).complete) {
    fail(ErrorKind::checkpoint, model, " is not pulled completely; 'glm-image pull ", model, "' goes on with it");
  }
  return folder.string();
}

}  // namespace glmimage::hub
