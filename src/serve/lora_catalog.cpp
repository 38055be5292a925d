#include "serve/lora_catalog.h"

#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "core/error.h"

namespace glmimage::serve {
namespace {

namespace fs = std::filesystem;

void add(std::vector<ListedLora>& out, const fs::path& file) {
  struct stat info = {};
  if (::stat(file.c_str(), &info) != 0) return;  // removed in between
  const std::string name = file.stem().string();
  const bool known = std::any_of(out.begin(), out.end(), [&](const ListedLora& each) { return each.name == name; });
  if (!known) out.push_back({name, file, info.st_size, info.st_mtime});
}

}  // namespace

LoraCatalog::LoraCatalog(std::vector<LoraChoice> served, fs::path folder)
    : served_(std::move(served)), folder_(std::move(folder)) {
  std::error_code error;
  if (!folder_.empty()) fs::directory_iterator(folder_, error);
  if (error) fail(ErrorKind::usage, folder_.string(), ": the folder of adapters cannot be read: ", error.message());
}

std::vector<ListedLora> LoraCatalog::list() const {
  std::vector<ListedLora> out;
  for (const LoraChoice& each : served_) add(out, each.file);
  if (!folder_.empty()) {
    std::error_code error;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder_, error)) {
      std::error_code ignored;
      if (entry.path().extension() == ".safetensors" && entry.is_regular_file(ignored)) add(out, entry.path());
    }
  }
  std::sort(out.begin(), out.end(), [](const ListedLora& a, const ListedLora& b) { return a.name < b.name; });
  return out;
}

std::vector<LoraChoice> LoraCatalog::resolve(const JobLoras& loras) const {
  if (!loras) return served_;
  const std::vector<ListedLora> listed = list();
  std::vector<LoraChoice> out;
  for (const JobLora& each : *loras) {
    const auto found =
        std::find_if(listed.begin(), listed.end(), [&](const ListedLora& l) { return l.name == each.name; });
    if (found == listed.end()) fail(ErrorKind::usage, "there is no adapter '", each.name, "' on this server");
    out.push_back({found->file, each.scale});
  }
  return out;
}

}  // namespace glmimage::serve
