#include <algorithm>
#include <map>
#include <memory>
#include <utility>

#include "core/error.h"
#include "train/data/admission.h"
#include "train/data/captions.h"
#include "train/data/tar_index.h"

namespace glmimage::train {
namespace fs = std::filesystem;

namespace {

// The members of one sample, by what follows the first dot of their file name.
using Parts = std::map<std::string, const TarMember*>;

// WebDataset's rule: folders belong to the key, and the key ends at the first dot of the file name.
std::pair<std::string, std::string> split_name(const std::string& name) {
  const size_t slash = name.rfind('/');
  const size_t dot = name.find('.', slash == std::string::npos ? 0 : slash + 1);
  if (dot == std::string::npos) return {name, ""};
  return {name.substr(0, dot), name.substr(dot + 1)};
}

class Shard {
 public:
  Shard(const fs::path& file, Admission& admission)
      : file_(std::make_shared<const fs::path>(file)), admission_(admission) {}

  void read() {
    const TarIndex index = index_tar(*file_);
    std::vector<std::pair<std::string, Parts>> samples;  // in the order of their first members
    std::map<std::string, size_t> where;
    for (const TarMember& member : index.members) {
      const auto [key, part] = split_name(member.name);
      if (part.empty() || fs::path(key).filename().empty()) continue;  // ".hidden"
      const auto [place, is_new] = where.emplace(key, samples.size());
      if (is_new) samples.emplace_back(key, Parts{});
      samples[place->second].second.emplace(part, &member);
    }
    for (const auto& [key, parts] : samples) consider(key, parts);
    if (!index.fault.empty()) admission_.skip(Skip::broken_archive, file_->filename().native(), index.fault);
  }

 private:
  Extent extent(const TarMember& member) const { return {file_, member.offset, member.size}; }
  std::string name(const std::string& member) const { return file_->filename().native() + ": " + member; }
  Picture picture(const TarMember& member) const { return {name(member.name), extent(member), {}}; }

  void consider(const std::string& key, const Parts& parts) {
    Record record;
    for (const auto& [part, member] : parts) {
      if (!has_picture_name(fs::path("x." + part))) continue;
      if (part.starts_with("source")) {
        record.sources.push_back(picture(*member));
      } else if (record.target.name.empty()) {
        record.target = picture(*member);
      }
    }
    if (record.target.name.empty()) {
      admission_.skip(Skip::bad_entry, name(key), "a sample without a picture (.png, .jpg, .jpeg or .webp)");
      return;
    }
    try {
      read_captions(parts, record);
    } catch (const Error& error) {
      admission_.skip(Skip::bad_caption, record.target.name, error.what());
      return;
    }
    admission_.consider(std::move(record));
  }

  void read_captions(const Parts& parts, Record& record) const {
    if (const auto found = parts.find("json"); found != parts.end()) {
      const std::string what = name(found->second->name);
      const nlohmann::json object = parse_json_object(read_text(extent(*found->second), what), what);
      record.captions = captions_of_json(object, what);
      record.repeats = repeats_of_json(object, what);
    }
    const auto found = parts.find("txt");
    if (record.captions.empty() && found != parts.end()) {
      record.captions = captions_of_text(read_text(extent(*found->second), name(found->second->name)));
    }
  }

  std::shared_ptr<const fs::path> file_;
  Admission& admission_;
};

}  // namespace

void index_shards(const std::vector<fs::path>& shards, Admission& admission) {
  for (const fs::path& shard : shards) {
    try {
      Shard(shard, admission).read();
    } catch (const Error& error) {
      if (shards.size() == 1) throw;
      admission.skip(Skip::broken_archive, shard.filename().native(), error.what());
    }
  }
}

}  // namespace glmimage::train
