#pragma once

#include <gmock/gmock.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <vector>

#include "core/error.h"
#include "hub/digest.h"
#include "hub/pull.h"
#include "support/goldens.h"
#include "support/hub_server.h"

namespace glmimage::hub::test {

namespace fs = std::filesystem;
using glmimage::test::HubServer;
using nlohmann::json;

// Bytes without a pattern, the same for the same seed.
inline std::string noise(size_t size, uint32_t seed) {
  std::string out(size, '\0');
  for (char& c : out) {
    seed = seed * 1664525 + 1013904223;
    c = static_cast<char>(seed >> 24);
  }
  return out;
}

inline std::string read(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

inline void write(const fs::path& file, const std::string& content) {
  fs::create_directories(file.parent_path());
  std::ofstream(file, std::ios::binary) << content;
}

// Regular files below a folder, the program's own folder left out.
inline std::vector<std::string> files_below(const fs::path& folder) {
  std::vector<std::string> out;
  if (!fs::exists(folder)) return out;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    const std::string name = fs::relative(entry.path(), folder).string();
    if (entry.is_regular_file() && !name.starts_with(".glm-image")) out.push_back(name);
  }
  std::sort(out.begin(), out.end());
  return out;
}

class Watcher : public PullProgress {
 public:
  void report(const PullStatus& status) override { last = status; }
  void note(const std::string& sentence) override { notes += sentence + "\n"; }
  bool cancelled() const override { return stop && stop(); }

  PullStatus last;
  std::string notes;
  std::function<bool()> stop;
};

// A repository of three files, served on loopback and pulled into a folder that is not there yet.
class PullTest : public ::testing::Test {
 protected:
  static constexpr int64_t kBig = 1000000;
  void SetUp() override {
    scratch = glmimage::test::scratch_folder();
    repository = scratch / "repository";
    target = scratch / "target";
    big = noise(kBig, 1);
    write(repository / "model_index.json", "{\"_class_name\": \"GlmImagePipeline\"}\n");
    write(repository / "big/model.safetensors", big);
    write(repository / "big/empty.txt", "");
    options.source.endpoint = HubServer::get().url();
    options.source.id = HubServer::kId;
    options.source.revision = "main";
    options.folder = target;
    options.http.timeout = std::chrono::seconds(1);
    options.fetch = {
        .parallel = 4, .piece_bytes = 150000, .retries = {.tries = 4, .first_wait = std::chrono::milliseconds(10)}};
  }

  void serve(const json& more = json::object()) const { HubServer::get().serve(repository, more); }
  void use_modelscope() {
    options.source.kind = HubKind::modelscope;
    options.source.revision = "master";
  }
  void use_address(const std::string& path) {
    options.source = {};
    options.source.kind = HubKind::url;
    options.source.endpoint = HubServer::get().url() + path;
  }
  // A fault of every answer about the large file, or of some.
  static json big_fault(json fault) {
    fault["path"] = "(resolve|repo|plain|cdn).*model\\.safetensors|/repo$";
    return {{"faults", json::array({fault})}};
  }
  PullReport pull() { return hub::pull(options, watcher); }
  Error failed_pull() {
    try {
      pull();
    } catch (const Error& error) {
      return error;
    }
    ADD_FAILURE() << "the pull succeeded";
    return {ErrorKind::internal, "the pull succeeded"};
  }
  void expect_failure(ErrorKind kind, const std::vector<std::string>& fragments) {
    const Error error = failed_pull();
    EXPECT_EQ(static_cast<int>(error.kind()), static_cast<int>(kind)) << error.what();
    for (const std::string& each : fragments) EXPECT_THAT(error.what(), ::testing::HasSubstr(each));
    expect_no_half_file();
  }
  // Under its own name a file is whole or not there.
  void expect_no_half_file() const {
    for (const std::string& name : files_below(target)) {
      if (name.ends_with(".part") || name.ends_with(".part.json")) continue;
      EXPECT_EQ(read(target / name), read(repository / name)) << name;
    }
  }
  void expect_whole() const {
    EXPECT_THAT(files_below(target),
                ::testing::ElementsAre("big/empty.txt", "big/model.safetensors", "model_index.json"));
    expect_no_half_file();
  }
  void expect_recovers(const json& script) {
    serve(script);
    pull();
    expect_whole();
  }
  static int64_t sent() { return HubServer::get().sent("model.safetensors"); }

  fs::path scratch, repository, target;
  std::string big;
  PullOptions options;
  Watcher watcher;
};

}  // namespace glmimage::hub::test
