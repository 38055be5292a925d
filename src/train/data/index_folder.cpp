#include <algorithm>
#include <system_error>
#include <unordered_set>

#include "core/error.h"
#include "train/data/admission.h"
#include "train/data/captions.h"

namespace glmimage::train {
namespace fs = std::filesystem;

namespace {

// All files below a folder, sorted byte by byte. A sub-folder that cannot be read is an error: silence would lose data.
std::vector<fs::path> files_below(const fs::path& folder) {
  std::vector<fs::path> files;
  std::error_code error;
  fs::recursive_directory_iterator entries(folder, error);
  while (!error && entries != fs::recursive_directory_iterator()) {
    const bool hidden = entries->path().filename().native().starts_with('.');  // "._1.jpg", ".git"
    if (hidden) entries.disable_recursion_pending();
    std::error_code ignored;
    // A link to nothing is listed too, so that it is named in the report.
    const bool dangling = entries->is_symlink(ignored) && !entries->exists(ignored);
    if (!hidden && (dangling || entries->is_regular_file(ignored))) files.push_back(entries->path());
    entries.increment(error);
  }
  if (error) fail(ErrorKind::usage, folder.native(), ": this folder cannot be read: ", error.message());
  std::sort(files.begin(), files.end(), [](const fs::path& a, const fs::path& b) { return a.native() < b.native(); });
  return files;
}

// The captions beside a picture.
void read_captions(const fs::path& picture, const std::unordered_set<std::string>& texts, Record& record) {
  const auto beside = [&](const char* extension) {
    const fs::path file = fs::path(picture).replace_extension(extension);
    return texts.contains(file.native()) ? file : fs::path();
  };
  if (const fs::path file = beside(".json"); !file.empty()) {
    const nlohmann::json object = parse_json_object(read_text(Extent::of_file(file), file.native()), file.native());
    record.captions = captions_of_json(object, file.native());
    record.repeats = repeats_of_json(object, file.native());
  }
  for (const char* extension : {".txt", ".caption"}) {
    const fs::path file = record.captions.empty() ? beside(extension) : fs::path();
    if (!file.empty()) record.captions = captions_of_text(read_text(Extent::of_file(file), file.native()));
  }
}

}  // namespace

void index_folder(const fs::path& folder, Admission& admission) {
  const std::vector<fs::path> files = files_below(folder);
  std::unordered_set<std::string> texts;
  for (const fs::path& file : files) {
    const fs::path extension = file.extension();
    if (extension == ".json" || extension == ".txt" || extension == ".caption") texts.insert(file.native());
  }
  for (const fs::path& file : files) {
    if (!has_picture_name(file)) continue;
    Record record;
    record.target.name = file.lexically_relative(folder).native();
    try {
      read_captions(file, texts, record);
    } catch (const Error& error) {
      admission.skip(Skip::bad_caption, record.target.name, error.what());
      continue;
    }
    try {
      record.target.bytes = Extent::of_file(file);
    } catch (const Error& error) {
      admission.skip(Skip::unreadable, record.target.name, error.what());
      continue;
    }
    admission.consider(std::move(record));
  }
}

}  // namespace glmimage::train
