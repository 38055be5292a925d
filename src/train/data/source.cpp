#include "train/data/source.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <system_error>
#include <utility>

#include "core/error.h"
#include "train/data/admission.h"
#include "train/data/data_spec.h"

namespace glmimage::train {
namespace fs = std::filesystem;

namespace {

constexpr const char* kForms =
    "expected a folder of pictures, a list (.jsonl), shards (.tar, a folder of them or shard-{0000..0009}.tar) or "
    "'synthetic'";

class FileSource : public Source {
 public:
  explicit FileSource(std::vector<Record> records) : records_(std::move(records)) {}
  const std::vector<Record>& records() const override { return records_; }
  Image read(const Picture& picture) const override {
    return decode_image(ExtentReader(picture.bytes).all(), picture.name);
  }
  std::string identity(const Picture& picture) const override {
    const auto& [file, offset, size] = picture.bytes;
    std::error_code none;
    const auto changed = fs::last_write_time(*file, none).time_since_epoch().count();
    return concat(fs::absolute(*file, none).lexically_normal().native(), " ", offset, " ", size, " ", changed);
  }

 private:
  std::vector<Record> records_;
};

std::vector<fs::path> shards_in(const fs::path& folder) {
  std::vector<fs::path> shards;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    if (entry.is_regular_file() && entry.path().extension() == ".tar") shards.push_back(entry.path());
  }
  std::sort(shards.begin(), shards.end());
  return shards;
}

void index_directory(const fs::path& folder, Admission& admission) {
  if (fs::is_regular_file(folder / "metadata.jsonl")) return index_json_lines(folder / "metadata.jsonl", admission);
  index_folder(folder, admission);
  if (admission.count() > 0) return;
  const std::vector<fs::path> shards = shards_in(folder);
  if (shards.empty()) {
    fail(ErrorKind::usage, "--data ", folder.native(), ": there is nothing to learn from; looked for pictures (.png, ",
         ".jpg, .jpeg, .webp) in it and below, metadata.jsonl and .tar shards");
  }
  index_shards(shards, admission);
}

void index_pattern(const std::string& source, Admission& admission) {
  std::vector<fs::path> shards;
  for (const std::string& name : expand_braces(source)) {
    if (!fs::is_regular_file(name)) fail(ErrorKind::usage, "--data ", source, ": ", name, ": no such file");
    shards.emplace_back(name);
  }
  index_shards(shards, admission);
}

void index_files(const std::string& source, Admission& admission) {
  const fs::path path = source;
  const std::string extension = path.extension().native();
  if (fs::is_directory(path)) return index_directory(path, admission);
  const bool exists = fs::exists(path);
  if (exists && (extension == ".jsonl" || extension == ".ndjson")) return index_json_lines(path, admission);
  if (exists && extension == ".tar") return index_shards({path}, admission);
  if (!exists && source.find('{') != std::string::npos) return index_pattern(source, admission);
  fail(ErrorKind::usage, "--data ", source, exists ? ": is no data set; " : ": no such file or folder; ", kForms);
}

// The COUNT of "synthetic:COUNT".
int64_t synthetic_count(const std::string& source, int64_t usual) {
  constexpr int64_t kMost = 10'000'000;
  const size_t colon = source.find(':');
  if (colon == std::string::npos) return usual;
  int64_t count = 0;
  const auto [end, error] = std::from_chars(source.data() + colon + 1, source.data() + source.size(), count);
  if (error != std::errc() || end != source.data() + source.size() || count < 1 || count > kMost) {
    fail(ErrorKind::usage, "--data ", source, ": expected synthetic:COUNT with a count from 1 to ", kMost);
  }
  return count;
}

}  // namespace

std::unique_ptr<Source> open_source(const std::string& source, const DataConfig& config, uint64_t seed,
                                    SourceReport& report, const WorldDefaults& world) {
  config.check();
  report = {source, 0, {}};
  if (source == "synthetic" || source.starts_with("synthetic:")) {
    const int64_t count = synthetic_count(source, world.count);
    if (config.areas.empty()) fail(ErrorKind::usage, "data: 'areas' is empty; expected sides of squares, like 512");
    const int64_t largest = *std::max_element(config.areas.begin(), config.areas.end());
    const int64_t size = std::min<int64_t>(world.size > 0 ? world.size : largest, 1024);
    auto painted = open_world_source(count, seed, {.size = size, .languages = config.languages, .words = config.words});
    report.used = static_cast<int64_t>(painted->records().size());
    return painted;
  }
  Admission admission(config, report);
  try {
    index_files(source, admission);
  } catch (const fs::filesystem_error& error) {
    fail(ErrorKind::usage, "--data ", source, ": cannot be read: ", error.code().message());
  }
  std::vector<Record> records = admission.take();
  report.used = static_cast<int64_t>(records.size());
  if (records.empty() && report.skipped.empty()) {
    fail(ErrorKind::usage, "--data ", source, ": it holds no entries; ", kForms);
  }
  if (records.empty()) {
    fail(ErrorKind::usage, "--data ", source, ": nothing of it can be used: ", report.summary(),
         "; the first: ", report.skipped[0].name, ": ", report.skipped[0].why);
  }
  return std::make_unique<FileSource>(std::move(records));
}

}  // namespace glmimage::train
