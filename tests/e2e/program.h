#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "support/goldens.h"
#include "support/process.h"

// The program under test, as a user starts it.
namespace glmimage::test {

inline ProcessOptions glm_image(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), (std::filesystem::path(GLM_IMAGE_BINARY_DIR) / "glm-image").string());
  return {.arguments = std::move(arguments),
          .environment = {{"OMP_NUM_THREADS", "1"}, {"GLM_IMAGE_DEVICE_LIBRARY", ""}},
          .input = {},
          .folder = {}};
}

inline std::string checkpoint(const std::string& name) { return golden(name + "/checkpoint").string(); }

// `generate` with one thread.
inline std::vector<std::string> generate(const std::string& model, const std::filesystem::path& output,
                                         std::vector<std::string> more = {}) {
  std::vector<std::string> out = {"generate", "--model", model, "--output", output.string(), "--threads", "1"};
  out.insert(out.end(), more.begin(), more.end());
  return out;
}

// Exit code, and the culprit named in one line on standard error.
inline void expect_failure(const ProcessResult& result, int exit_code, const std::vector<std::string>& fragments) {
  EXPECT_EQ(result.exit_code, exit_code) << result.err << "signal " << result.signal;
  EXPECT_FALSE(result.timed_out);
  for (const std::string& fragment : fragments) {
    EXPECT_NE(result.err.find(fragment), std::string::npos) << "'" << fragment << "' is not in: " << result.err;
  }
  const size_t message = result.err.rfind("glm-image: ");
  ASSERT_NE(message, std::string::npos) << result.err;
  EXPECT_EQ(result.err.find('\n', message), result.err.size() - 1) << "more than one line: " << result.err;
}

// Names in a folder, sorted: what a run left behind.
inline std::vector<std::string> files_in(const std::filesystem::path& folder) {
  std::vector<std::string> out;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) out.push_back(entry.path().filename().string());
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace glmimage::test
