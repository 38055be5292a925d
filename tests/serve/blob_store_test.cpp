#include "serve/blob_store.h"

#include <gmock/gmock.h>

#include <fstream>
#include <thread>

#include "core/error.h"
#include "core/sha256.h"
#include "serve/store_fixture.h"

namespace glmimage::serve::test {
namespace {

using testing::HasSubstr;
using namespace std::chrono_literals;

class BlobStoreTest : public StoreTest {
 protected:
  std::filesystem::path place(const std::string& hash) const { return folder_ / "blobs" / hash.substr(0, 2) / hash; }
};
FOR_BOTH_DATABASES(BlobStoreTest);

TEST_P(BlobStoreTest, BytesComeBackAsTheyWere) {
  const std::string bytes("a\0picture\xff", 10);
  const std::string hash = blobs_->put(bytes);
  EXPECT_EQ(hash, sha256_hex(bytes));
  EXPECT_EQ(blobs_->get(hash), bytes);
  EXPECT_EQ(blobs_->put(bytes), hash);
  EXPECT_EQ(blobs_->bytes(), 10);
  EXPECT_EQ(blobs_->get(blobs_->put("")), "");
}

TEST_P(BlobStoreTest, OnlyHashesAreLookedFor) {
  EXPECT_FALSE(blobs_->get(std::string(64, '0')));
  EXPECT_FALSE(blobs_->get("../../../etc/passwd"));
  EXPECT_FALSE(blobs_->get(""));
  EXPECT_FALSE(blobs_->get(std::string(64, 'A')));
}

TEST_P(BlobStoreTest, BrokenBytesAreNotHandedOut) {
  const std::string hash = blobs_->put("picture");
  std::ofstream(place(hash)) << "pictura";
  try {
    blobs_->get(hash);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::io);
    EXPECT_THAT(error.what(), HasSubstr("other bytes"));
  }
}

TEST_P(BlobStoreTest, CutBytesAreWrittenAgain) {
  const std::string hash = blobs_->put("picture");
  std::filesystem::resize_file(place(hash), 3);
  blobs_->put("picture");
  EXPECT_EQ(blobs_->get(hash), "picture");
  std::filesystem::remove(place(hash));
  EXPECT_FALSE(blobs_->get(hash));
  blobs_->put("picture");
  EXPECT_EQ(blobs_->get(hash), "picture");
}

TEST_P(BlobStoreTest, NothingIsLeftBehind) {
  blobs_->put("picture");
  EXPECT_TRUE(std::filesystem::is_empty(folder_ / "blobs/incoming"));
}

TEST_P(BlobStoreTest, GarbageIsWhatNoJobRefersTo) {
  JobStore jobs(*database_);
  const std::string reference = blobs_->put("reference"), garbage = blobs_->put("garbage");
  NewJob job = new_job("edit");
  job.request.references = {reference};
  const std::string id = jobs.submit(job).job.id;
  EXPECT_EQ(blobs_->collect_garbage(1h), 0);  // young
  EXPECT_EQ(blobs_->collect_garbage(-1s), 1);
  EXPECT_FALSE(blobs_->get(garbage));
  EXPECT_TRUE(blobs_->get(reference));
  const Claim claim = jobs.claim("w", 1, 1min).at(0);
  const JobPicture picture = stored_picture(*blobs_, 0, "result");
  jobs.add_picture(claim.lease, picture);
  jobs.finish(claim.lease);
  EXPECT_EQ(blobs_->collect_garbage(-1s), 0);
  jobs.remove(id);
  EXPECT_EQ(blobs_->collect_garbage(-1s), 2);
  EXPECT_FALSE(std::filesystem::exists(place(reference)));
}

TEST_P(BlobStoreTest, ABlobOfTwoJobsStaysForTheOther) {
  JobStore jobs(*database_);
  NewJob job = new_job("edit");
  job.request.references = {blobs_->put("shared")};
  const std::string first = jobs.submit(job).job.id;
  jobs.submit(job);
  jobs.remove(first);
  EXPECT_EQ(blobs_->collect_garbage(-1s), 0);
}

// Clients store pictures and submit jobs while everything unused is cleared away without any grace: an accepted job
// always has its picture.
TEST_P(BlobStoreTest, ClearingNeverRacesAnAcceptedJob) {
  std::atomic<bool> over = false;
  std::atomic<int> accepted = 0, refused = 0;
  std::jthread cleaner([&] {
    while (!over) blobs_->collect_garbage(-1s);
  });
  {
    std::vector<std::jthread> clients;
    for (int t = 0; t < 3; ++t) {
      clients.emplace_back([&] {
        JobStore jobs(*database_);
        for (int i = 0; i < 40; ++i) {
          const std::string bytes = "picture " + std::to_string(i % 5);
          NewJob job = new_job("edit");
          job.request.references = {blobs_->put(bytes)};
          const Submission answer = jobs.submit(job);
          if (!answer.ok()) {
            EXPECT_EQ(answer.outcome, Submission::Outcome::lost_blob);
            ++refused;
            continue;
          }
          ++accepted;
          EXPECT_EQ(blobs_->get(job.request.references[0]), bytes);
          jobs.remove(answer.job.id);
        }
      });
    }
  }
  over = true;
  EXPECT_GT(accepted, 0);
  EXPECT_EQ(accepted + refused, 120);
}

TEST(DiskBlobsTest, AFolderThatCannotBeIsAnError) {
  const auto file = glmimage::test::scratch_folder() / "file";
  std::ofstream(file) << "x";
  EXPECT_THROW(open_disk_blobs(file.string()), Error);
}

}  // namespace
}  // namespace glmimage::serve::test
