#include "train/state/saved_states.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <system_error>

#include "core/error.h"
#include "core/part_file.h"

namespace glmimage::train {
namespace fs = std::filesystem;

namespace {

constexpr const char* kPrefix = "step-";

std::string state_name(int64_t step) {
  char name[32];
  std::snprintf(name, sizeof name, "%s%08lld", kPrefix, static_cast<long long>(step));
  return name;
}

// The step in a state's name; -1 for any other name.
int64_t step_of(const fs::path& path) {
  const std::string name = path.filename().string(), digits = name.substr(std::min<size_t>(name.size(), 5));
  if (name.rfind(kPrefix, 0) != 0 || digits.empty() || digits.size() > 18) return -1;
  if (digits.find_first_not_of("0123456789") != std::string::npos) return -1;
  return std::strtoll(digits.c_str(), nullptr, 10);
}

// The standard library's words for a fault of the disk, as this program's error.
template <typename Action>
void on_disk(const Action& action) {
  try {
    action();
  } catch (const fs::filesystem_error& error) {
    fail(ErrorKind::io, error.path1().string(), ": ", error.code().message());
  }
}

}  // namespace

std::vector<fs::path> SavedStates::finished() const {
  std::vector<fs::path> out;
  if (!fs::is_directory(folder_)) return out;
  for (const auto& entry : fs::directory_iterator(folder_)) {
    if (step_of(entry.path()) >= 0) out.push_back(entry.path());
  }
  std::sort(out.begin(), out.end(), [](const fs::path& a, const fs::path& b) { return step_of(a) < step_of(b); });
  return out;
}

fs::path SavedStates::half_written(int64_t step) const { return folder_ / (state_name(step) + ".part"); }

void SavedStates::remove_half_written() const {
  if (!fs::is_directory(folder_)) return;
  on_disk([&] {
    std::vector<fs::path> halves;
    for (const auto& entry : fs::directory_iterator(folder_)) {
      if (entry.path().extension() == ".part") halves.push_back(entry.path());
    }
    for (const fs::path& half : halves) fs::remove_all(half);
  });
}

void SavedStates::save(int64_t step, int64_t keep, const std::function<void(const fs::path&)>& fill) const {
  const fs::path final_name = folder_ / state_name(step), temporary = half_written(step);
  try {
    on_disk([&] {
      fs::remove_all(temporary);
      fs::create_directories(temporary);
      sync_folder(folder_.parent_path());
      fill(temporary);
      sync_folder(temporary);
      fs::remove_all(final_name);
      fs::rename(temporary, final_name);
      sync_folder(folder_);
    });
  } catch (const Error& error) {
    std::error_code ignored;
    fs::remove_all(temporary, ignored);
    const std::vector<fs::path> whole = finished();
    fail(error.kind(), "the state of step ", step, " was not saved: ", error.what(), "; ",
         whole.empty() ? "there is no earlier one" : concat("the last whole one is ", whole.back().string()));
  }
  std::vector<fs::path> states = finished();
  const size_t kept = static_cast<size_t>(keep);
  for (size_t i = 0; i + kept < states.size(); ++i) {
    std::error_code ignored;  // an old state that cannot be removed costs space, not the run
    fs::remove_all(states[i], ignored);
  }
}

}  // namespace glmimage::train
