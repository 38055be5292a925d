#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <vector>

namespace glmimage::train {

// The saved states of a run, <run>/state/step-NNNNNNNN. A state is written as step-NNNNNNNN.part, its files and folders
// are synced, and it is renamed when it is whole: whatever happens, the last whole state stays.
class SavedStates {
 public:
  static constexpr const char* kAbout = "state.json";  // the file of a state that says what it is of

  explicit SavedStates(const std::filesystem::path& run) : folder_(run / "state") {}

  const std::filesystem::path& folder() const { return folder_; }

  // Whole states, oldest first.
  std::vector<std::filesystem::path> finished() const;
  // Where a state is while it is written.
  std::filesystem::path half_written(int64_t step) const;
  // What a run that was killed while it saved left behind.
  void remove_half_written() const;
  // `fill` writes the files of a state into the folder it is given. Then all but the newest `keep` are removed. On any
  // fault the half state is removed and the error names the last whole one.
  void save(int64_t step, int64_t keep, const std::function<void(const std::filesystem::path&)>& fill) const;

 private:
  std::filesystem::path folder_;
};

}  // namespace glmimage::train
