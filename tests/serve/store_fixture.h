#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>

#include "serve/blob_store.h"
#include "serve/job_store.h"
#include "support/goldens.h"
#include "support/postgres_server.h"

namespace glmimage::serve::test {

enum class DatabaseKind { sqlite, postgres };

// Tests that hold for both databases, each with an empty one and an empty folder for blobs.
class StoreTest : public testing::TestWithParam<DatabaseKind> {
 protected:
  void SetUp() override {
    folder_ = memory_folder();
    if (GetParam() == DatabaseKind::postgres) {
      auto* server = glmimage::test::PostgresServer::instance();
      if (!server) GTEST_SKIP() << "PostgreSQL is not installed (scripts/bootstrap --dev)";
      where_ = server->empty_database();
    } else {
      where_ = (folder_ / "queue.sqlite").string();
    }
    database_ = Database::open(where_);
    backend_ = open_disk_blobs((folder_ / "blobs").string());
    blobs_ = std::make_unique<BlobStore>(*database_, *backend_);
  }

  void TearDown() override {
    blobs_.reset();
    database_.reset();
    std::filesystem::remove_all(folder_);
  }

  // In memory, where syncing costs nothing: what these tests ask holds on any file system.
  static std::filesystem::path memory_folder() {
    std::string name = std::filesystem::is_directory("/dev/shm")
                           ? "/dev/shm/glm-image-test-XXXXXX"
                           : std::filesystem::temp_directory_path() / "glm-image-test-XXXXXX";
    if (!::mkdtemp(name.data())) throw std::runtime_error("no temporary folder");
    return name;
  }

  std::filesystem::path folder_;
  std::string where_;
  std::unique_ptr<Database> database_;
  std::unique_ptr<BlobBackend> backend_;
  std::unique_ptr<BlobStore> blobs_;
};

#define FOR_BOTH_DATABASES(fixture)                                                                    \
  INSTANTIATE_TEST_SUITE_P(                                                                            \
      , fixture, testing::Values(DatabaseKind::sqlite, DatabaseKind::postgres), [](const auto& info) { \
        return info.param == DatabaseKind::sqlite ? std::string("sqlite") : std::string("postgres");   \
      })

inline NewJob new_job(const std::string& prompt, const std::string& owner = "", int64_t count = 1) {
  NewJob job;
  job.kind = "generation";
  job.owner = owner;
  job.request.prompt = prompt;
  job.request.count = count;
  job.request.seed = 7;
  return job;
}

// A picture of a job whose file is `bytes`.
inline JobPicture stored_picture(BlobStore& blobs, int64_t index, const std::string& bytes) {
  return {.index = index,
          .seed = 7 + static_cast<uint64_t>(index),
          .blob = blobs.put(bytes),
          .mime = "image/png",
          .width = 8,
          .height = 4,
          .bytes = static_cast<int64_t>(bytes.size()),
          .seconds = {{"denoise", 0.5}},
          .visual_tokens = 3};
}

}  // namespace glmimage::serve::test
