#include "train/state/saved_states.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "core/error.h"
#include "train/stage_helpers.h"

namespace glmimage::train {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

void fill(const fs::path& folder) { std::ofstream(folder / "state.json") << "{}"; }

TEST(SavedStates, ComeInTheOrderOfTheirSteps) {
  const SavedStates states(fresh_folder("states_order"));
  const fs::path& folder = states.folder();
  EXPECT_TRUE(states.finished().empty());
  for (int64_t step : {5, 99999999, 100000000}) states.save(step, 3, fill);
  fs::create_directories(folder / "step-7.bak");
  fs::create_directories(folder / "step-");
  std::vector<std::string> names;
  for (const fs::path& path : states.finished()) names.push_back(path.filename());
  EXPECT_EQ(names, (std::vector<std::string>{"step-00000005", "step-99999999", "step-100000000"}));
  states.save(100000001, 1, fill);
  EXPECT_EQ(states.finished().size(), 1u);
}

TEST(SavedStates, AFaultLeavesTheLastWholeOne) {
  const SavedStates states(fresh_folder("states_fault"));
  const fs::path& folder = states.folder();
  const auto full = [](const fs::path& part) {
    std::ofstream(part / "weights") << "half";
    fail(ErrorKind::io, "no space left");
  };
  const auto save = [&](int64_t step) {
    try {
      states.save(step, 1, full);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::io);
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_THAT(save(4), HasSubstr("there is no earlier one"));
  states.save(5, 1, fill);
  const std::string message = save(6);
  EXPECT_THAT(message, HasSubstr("the state of step 6 was not saved: no space left; the last whole one is "));
  EXPECT_THAT(message, HasSubstr("step-00000005"));
  EXPECT_TRUE(fs::exists(folder / "step-00000005" / "state.json"));
  EXPECT_FALSE(fs::exists(folder / "step-00000006.part"));
}

TEST(SavedStates, AFolderThatCannotBeMadeIsAFaultOfTheDisk) {
  const fs::path file = fresh_folder("states_blocked");
  fs::create_directories(file.parent_path());
  std::ofstream(file) << "a file where a folder should be";
  try {
    SavedStates(file).save(1, 1, fill);
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::io);
  }
  fs::remove(file);
}

}  // namespace
}  // namespace glmimage::train
