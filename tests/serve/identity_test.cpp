#include <gtest/gtest.h>

#include <regex>
#include <set>
#include <thread>
#include <vector>

#include "serve/process_identity.h"
#include "serve/unique_id.h"
#include "support/process.h"

namespace glmimage::serve::test {
namespace {

TEST(UniqueIdTest, IsAUuidOfVersion7) {
  const std::regex form("[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}");
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(std::regex_match(unique_id(), form));
  const std::string id = unique_id();
  const int64_t milliseconds = std::stoll(id.substr(0, 8) + id.substr(9, 4), nullptr, 16);
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  EXPECT_NEAR(static_cast<double>(milliseconds),
              static_cast<double>(std::chrono::duration_cast<std::chrono::milliseconds>(now).count()), 60000);
}

TEST(UniqueIdTest, SortsInTheOrderItWasMade) {
  std::string last = unique_id();
  for (int i = 0; i < 20000; ++i) {
    const std::string next = unique_id();
    ASSERT_LT(last, next);
    last = next;
  }
}

TEST(UniqueIdTest, IsUniqueOverThreads) {
  std::vector<std::vector<std::string>> made(4);
  {
    std::vector<std::jthread> threads;
    for (auto& ids : made) {
      threads.emplace_back([&ids] {
        for (int i = 0; i < 5000; ++i) ids.push_back(unique_id());
      });
    }
  }
  std::set<std::string> all;
  for (const auto& ids : made) all.insert(ids.begin(), ids.end());
  EXPECT_EQ(all.size(), 20000u);
}

TEST(RandomTextTest, HasOneLengthAndAllDigits) {
  std::set<char> digits;
  for (int i = 0; i < 500; ++i) {
    const std::string text = random_text(32);
    ASSERT_EQ(text.size(), 43u);
    digits.insert(text.begin(), text.end());
  }
  EXPECT_EQ(digits.size(), 62u);
  EXPECT_EQ(random_text(16).size(), 22u);
}

TEST(ProcessIdentityTest, OnlyEndedProcessesOfThisMachineAreGone) {
  EXPECT_FALSE(process_is_gone(process_identity()));
  std::string reused = process_identity();  // the same process id, another start
  reused.back() = reused.back() == '1' ? '2' : '1';
  EXPECT_TRUE(process_is_gone(reused));
  for (const char* foreign : {"", "w", "/", "other/boot/pid:[1]/1/1"})
    EXPECT_FALSE(process_is_gone(foreign)) << foreign;
}

}  // namespace
}  // namespace glmimage::serve::test
