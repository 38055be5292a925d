#include "core/weight_files.h"

#include <algorithm>
#include <set>
#include <system_error>

#include "core/error.h"
#include "core/json.h"
#include "core/listing.h"

namespace glmimage {
namespace {

namespace fs = std::filesystem;

constexpr const char* kIndexEnding = ".safetensors.index.json";
constexpr const char* kWeightsEnding = ".safetensors";
// What transformers and diffusers call their weights, in the order of preference.
constexpr const char* kStems[] = {"model", "diffusion_pytorch_model"};

bool ends_with(const std::string& text, const std::string& ending) {
  return text.size() >= ending.size() && text.compare(text.size() - ending.size(), ending.size(), ending) == 0;
}

std::vector<std::string> file_names(const fs::path& folder) {
  std::error_code error;
  std::vector<std::string> out;
  fs::directory_iterator it(folder, error), end;
  for (; !error && it != end; it.increment(error)) out.push_back(it->path().filename().string());
  if (error) fail(ErrorKind::checkpoint, folder.string(), ": the folder cannot be read: ", error.message());
  std::sort(out.begin(), out.end());
  return out;
}

// The file in `names` with this ending: a usual name first, else the only one there is; empty when there is none.
std::string choose(const fs::path& folder, const std::vector<std::string>& names, const std::string& ending) {
  std::vector<std::string> candidates;
  for (const std::string& name : names) {
    if (ends_with(name, ending)) candidates.push_back(name);
  }
  for (const char* stem : kStems) {
    if (std::find(candidates.begin(), candidates.end(), stem + ending) != candidates.end()) return stem + ending;
  }
  if (candidates.size() > 1) {
    fail(ErrorKind::checkpoint, folder.string(), ": several files could be the weights (", listed(candidates),
         ") and none is called model", ending, " or diffusion_pytorch_model", ending,
         ending == kWeightsEnding ? ": is the index (*.safetensors.index.json) missing?" : "");
  }
  return candidates.empty() ? "" : candidates.front();
}

// A shard is a file beside the index: a path would let a checkpoint read files elsewhere.
void check_shard_name(const JsonObject& map, const std::string& tensor, const std::string& shard) {
  if (!ends_with(shard, kWeightsEnding) || shard.find('/') != std::string::npos ||
      shard.find('\\') != std::string::npos || shard.find('\0') != std::string::npos) {
    map.reject(tensor, concat("should name a .safetensors file in the same folder, not '", shard, "'"));
  }
}

// Tensor name -> shard.
std::map<std::string, std::string> read_index(const fs::path& file) {
  const JsonObject map = JsonObject::open(file).object("weight_map");
  std::map<std::string, std::string> out;
  for (const auto& entry : map.value().items()) {
    std::string shard = map.text(entry.key());
    check_shard_name(map, entry.key(), shard);
    out[entry.key()] = std::move(shard);
  }
  if (out.empty()) fail(ErrorKind::checkpoint, file.string(), ": field 'weight_map' names no weights");
  return out;
}

std::vector<std::string> shard_names(const fs::path& index, const std::map<std::string, std::string>& weight_map) {
  std::set<std::string> shards;
  for (const auto& [name, shard] : weight_map) shards.insert(shard);
  std::vector<std::string> missing;
  for (const std::string& shard : shards) {
    std::error_code error;
    if (!fs::exists(index.parent_path() / shard, error)) missing.push_back(shard);
  }
  if (!missing.empty()) {
    fail(ErrorKind::checkpoint, index.string(), ": ", missing.size(), " of its ", shards.size(),
         " weight files are missing: ", listed(missing), ": an incomplete download?");
  }
  return {shards.begin(), shards.end()};
}

[[noreturn]] void fail_empty(const fs::path& folder, const std::vector<std::string>& names) {
  bool pickled = std::any_of(names.begin(), names.end(), [](const std::string& n) { return ends_with(n, ".bin"); });
  fail(ErrorKind::checkpoint, folder.string(), ": holds no safetensors weights (model.safetensors or ",
       "diffusion_pytorch_model.safetensors)",
       pickled ? "; its .bin weights must be converted to safetensors first" : ": an incomplete download?");
}

}  // namespace

WeightFiles WeightFiles::open(const fs::path& folder) {
  const std::vector<std::string> present = file_names(folder);
  WeightFiles out;
  out.folder_ = folder;
  std::map<std::string, std::string> weight_map;
  std::vector<std::string> chosen;
  const std::string index = choose(folder, present, kIndexEnding);
  if (!index.empty()) {
    weight_map = read_index(folder / index);
    chosen = shard_names(folder / index, weight_map);
  } else {
    chosen = {choose(folder, present, kWeightsEnding)};
    if (chosen.front().empty()) fail_empty(folder, present);
  }
  for (const std::string& name : chosen) {
    out.files_.push_back(SafetensorsFile::open(folder / name));
    for (const TensorInfo& info : out.files_.back().tensors()) {
      auto [it, fresh] = out.where_.emplace(info.name, out.files_.size() - 1);
      if (!fresh) {
        fail(ErrorKind::checkpoint, folder.string(), ": tensor '", info.name, "' is in two files, ", chosen[it->second],
             " and ", name);
      }
    }
  }
  std::vector<std::string> absent;
  for (const auto& [name, shard] : weight_map) {
    auto it = out.where_.find(name);
    if (it == out.where_.end() || chosen[it->second] != shard) absent.push_back(concat(name, " (", shard, ")"));
  }
  if (!absent.empty()) {
    fail(ErrorKind::checkpoint, (folder / index).string(), ": ", absent.size(),
         " tensors are not in the files it names: ", listed(absent), ": files of different downloads?");
  }
  return out;
}

std::vector<std::string> WeightFiles::names() const {
  std::vector<std::string> out;
  for (const auto& [name, file] : where_) out.push_back(name);
  return out;
}

const TensorInfo& WeightFiles::info(const std::string& name) const {
  auto it = where_.find(name);
  if (it == where_.end()) fail(ErrorKind::checkpoint, folder_.string(), ": holds no tensor named '", name, "'");
  return *files_[it->second].find(name);
}

at::Tensor WeightFiles::tensor(const std::string& name) const {
  info(name);  // throws for an unknown name
  return files_[where_.at(name)].tensor(name);
}

void WeightFiles::release(const std::string& name) const {
  if (has(name)) files_[where_.at(name)].release(name);
}

}  // namespace glmimage
