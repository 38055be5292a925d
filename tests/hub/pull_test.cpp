// Whole pulls from a hub on loopback: what arrives, what is not fetched twice, how a pull goes on.
#include "hub/pull.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hub/folder_lock.h"
#include "hub/pull_helpers.h"

namespace glmimage::hub::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST_F(PullTest, BringsAllFilesInParallelRanges) {
  serve();
  const PullReport report = pull();
  expect_whole();
  EXPECT_EQ(report.listing.commit, HubServer::kCommit);
  EXPECT_EQ(report.fetched_bytes(), report.bytes());
  EXPECT_EQ(sent(), kBig) << "each byte once";
  EXPECT_EQ(HubServer::get().requests("model.safetensors").size(), 7u) << "1000000 bytes by 150000";
  EXPECT_EQ(watcher.last.done, report.bytes());
  EXPECT_EQ(watcher.last.files_done, 3);
  EXPECT_EQ(watcher.notes, "");
}

TEST_F(PullTest, RangesComeSideBySide) {
  serve(big_fault({{"kind", "slow"}, {"rate", 1000000}}));
  pull();
  expect_whole();
  const std::vector<json> requests = HubServer::get().requests("model.safetensors");
  int most = 0;
  for (const json& one : requests) {
    int beside = 0;
    for (const json& other : requests) beside += other["begun"] <= one["begun"] && one["begun"] < other["ended"];
    most = std::max(most, beside);
  }
  EXPECT_EQ(most, options.fetch.parallel);
}

TEST_F(PullTest, FetchesNothingThatIsThere) {
  serve();
  pull();
  serve();
  const PullReport again = pull();
  EXPECT_EQ(again.fetched_bytes(), 0);
  EXPECT_THAT(HubServer::get().requests("resolve"), IsEmpty());
}

// Also without the note of earlier pulls: the files are read.
TEST_F(PullTest, FetchesOnlyWhatDiffers) {
  serve();
  pull();
  fs::remove_all(target / ".glm-image");
  std::string changed = big;
  changed[500] ^= 1;
  write(target / "big/model.safetensors", changed);
  serve();
  const PullReport again = pull();
  expect_whole();
  EXPECT_EQ(again.fetched_bytes(), kBig);
  EXPECT_EQ(HubServer::get().requests("resolve").size(), 7u);
}

// A file that was changed since, with the size it had, is noticed by its date.
TEST_F(PullTest, NoticesAChangedFile) {
  serve();
  pull();
  std::string changed = big;
  changed.back() ^= 1;
  write(target / "big/model.safetensors", changed);
  pull();
  expect_whole();
}

TEST_F(PullTest, ReadsLongListsPageByPage) {
  for (int i = 0; i < 7; ++i) write(repository / concat("many/", i, ".json"), concat(i));
  serve({{"page", 3}});
  EXPECT_EQ(pull().files.size(), 10u);
  EXPECT_EQ(HubServer::get().requests("/tree/").size(), 4u);
  EXPECT_EQ(read(target / "many/6.json"), "6");
}

TEST_F(PullTest, BringsManySmallFiles) {
  for (int i = 0; i < 60; ++i) write(repository / concat("many/", i % 7, "/", i, ".txt"), noise(i, i));
  serve();
  EXPECT_EQ(pull().files.size(), 63u);
  EXPECT_EQ(files_below(target).size(), 63u);
  expect_no_half_file();
}

TEST_F(PullTest, TakesNamesWithOddCharacters) {
  const std::string name = "a b/ü%2F?#&+.json";
  write(repository / name, "odd");
  serve();
  pull();
  EXPECT_EQ(read(target / name), "odd");
}

TEST_F(PullTest, ChoosesByPatterns) {
  serve();
  options.include = {"*.json", "big/"};
  options.exclude = {"*.safetensors"};
  pull();
  EXPECT_THAT(files_below(target), ElementsAre("big/empty.txt", "model_index.json"));
  options.include = {"vae/*"};
  expect_failure(ErrorKind::usage, {"--include", "big/model.safetensors"});
}

TEST_F(PullTest, LooksWithoutWriting) {
  serve();
  options.dry_run = true;
  const PullReport report = pull();
  EXPECT_EQ(report.missing_bytes(), report.bytes());
  EXPECT_FALSE(fs::exists(target));
  EXPECT_THAT(HubServer::get().requests("resolve"), IsEmpty());
}

TEST_F(PullTest, GoesOnWhereItWasStopped) {
  serve(big_fault({{"kind", "slow"}, {"rate", 400000}}));
  watcher.stop = [&] { return watcher.last.fetched > kBig / 3; };
  const Error error = failed_pull();
  EXPECT_EQ(static_cast<int>(error.kind()), static_cast<int>(ErrorKind::cancelled));
  EXPECT_THAT(error.what(), HasSubstr("the same command goes on"));
  EXPECT_FALSE(fs::exists(target / "big/model.safetensors"));
  watcher.stop = {};
  serve();
  const PullReport report = pull();
  expect_whole();
  const PulledFile& file = report.files.at(1);
  EXPECT_GE(file.resumed, kBig / 3);
  EXPECT_EQ(file.fetched, kBig - file.resumed);
  EXPECT_EQ(sent(), file.fetched) << "what was there is not sent again";
}

// The branch moved between two tries: nothing of the old content is glued to the new.
TEST_F(PullTest, BeginsAnewWhenTheContentChanged) {
  serve(big_fault({{"kind", "slow"}, {"rate", 400000}}));
  watcher.stop = [&] { return watcher.last.fetched > kBig / 3; };
  failed_pull();
  watcher.stop = {};
  write(repository / "big/model.safetensors", noise(kBig, 2));
  serve();
  const PullReport report = pull();
  expect_whole();
  EXPECT_EQ(report.files.at(1).resumed, 0);
}

TEST_F(PullTest, DistrustsABrokenNote) {
  const fs::path note = target / "big/model.safetensors.part.json";
  for (const std::string text : {"", "{", "[1]", "{\"content\": 1, \"bytes\": [[0, 10]]}"}) {
    write(target / "big/model.safetensors.part", std::string(kBig, 'x'));
    write(note, text);
    serve();
    EXPECT_EQ(pull().files.at(1).resumed, 0) << text;
    expect_whole();
    fs::remove_all(target);
  }
}

// A note that claims bytes which the disk lost (a power cut): the digest tells, and the file is fetched again.
TEST_F(PullTest, FetchesAgainWhatTheDiskLost) {
  serve(big_fault({{"kind", "slow"}, {"rate", 400000}}));
  watcher.stop = [&] { return watcher.last.fetched > kBig / 3; };
  failed_pull();
  watcher.stop = {};
  const fs::path part = target / "big/model.safetensors.part";
  std::string lost = read(part);
  lost.replace(0, 4096, std::string(4096, '\0'));
  write(part, lost);
  serve();
  pull();
  expect_whole();
  EXPECT_THAT(watcher.notes, HasSubstr("it is fetched once more"));
}

TEST_F(PullTest, OnlyOnePullInAFolder) {
  serve();
  {
    const FolderLock other(target);
    expect_failure(ErrorKind::io, {"another pull", concat("process ", ::getpid())});
    EXPECT_THAT(files_below(target), IsEmpty());
  }
  pull();
  expect_whole();
}

// The system takes the lock back from a process that was killed.
TEST_F(PullTest, AKilledPullLeavesNoLock) {
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const FolderLock lock(target);
    (void)!::write(ready[1], "x", 1);
    ::pause();
  }
  char byte;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  serve();
  expect_failure(ErrorKind::io, {concat("process ", child)});
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  pull();
  expect_whole();
}

TEST_F(PullTest, FromModelScope) {
  use_modelscope();
  options.source.token = "ms-secret";
  serve({{"token", "ms-secret"}});
  const PullReport report = pull();
  expect_whole();
  EXPECT_EQ(report.listing.source, "modelscope");
  for (const json& request : HubServer::get().requests()) EXPECT_EQ(request["cookie"], "m_session_id=ms-secret");
  options.source.revision = "v9";
  expect_failure(ErrorKind::usage, {"no such revision"});
}

TEST_F(PullTest, RefusesAListThatModelScopeCutOff) {
  use_modelscope();
  serve({{"list_times", 1000}});
  expect_failure(ErrorKind::io, {"3000"});
}

TEST_F(PullTest, FromAFolderWithSums) {
  const std::string sums = "d8156bae0c4243d3742fc4e9774d8aceabe0410249d720c855f98afc88ff846c  ./SHA256SUMS\n";
  write(repository / "SHA256SUMS",
        sums + file_digest(repository / "big/empty.txt", DigestKind::sha256) + " *./big/empty.txt\r\n" +
            file_digest(repository / "model_index.json", DigestKind::sha256) + "  model_index.json\n" +
            file_digest(repository / "big/model.safetensors", DigestKind::sha256) + "  ./big/model.safetensors\n");
  use_address("/plain/");
  serve();
  pull();
  expect_whole();
  EXPECT_EQ(pull().fetched_bytes(), 0);
}

TEST_F(PullTest, FolderWithoutSumsSaysHowToMakeThem) {
  use_address("/plain/");
  serve();
  expect_failure(ErrorKind::usage, {"404", "sha256sum"});
  write(repository / "SHA256SUMS", "<html>\n");
  expect_failure(ErrorKind::io, {"<html>", "sha256sum"});
}

class SingleFile : public PullTest {
 protected:
  void SetUp() override {
    PullTest::SetUp();
    use_address("/plain/big/model.safetensors");
  }
  void expect_file() const {
    EXPECT_THAT(files_below(target), ElementsAre("model.safetensors"));
    EXPECT_EQ(read(target / "model.safetensors"), read(repository / "big/model.safetensors"));
  }
};

TEST_F(SingleFile, IsPulled) {
  serve();
  pull();
  expect_file();
  EXPECT_EQ(pull().fetched_bytes(), 0) << "known by its ETag";
}

// Without digest and ETag nobody knows whether two halves belong together: one transfer, from the beginning.
TEST_F(SingleFile, WithoutValidator) {
  serve({{"validators", false}});
  pull();
  expect_file();
  for (const json& request : HubServer::get().requests("plain")) EXPECT_TRUE(request["range"].is_null());
}

TEST_F(SingleFile, OfUnknownLength) {
  serve(big_fault({{"kind", "no_length"}}));
  EXPECT_EQ(pull().bytes(), kBig);
  expect_file();
}

// Between two runs, and between two answers of one run.
TEST_F(SingleFile, ThatChangesIsNotGluedTogether) {
  serve(big_fault({{"kind", "slow"}, {"rate", 400000}, {"skip", 1}}));
  watcher.stop = [&] { return watcher.last.fetched > kBig / 3; };
  failed_pull();
  watcher.stop = {};
  write(repository / "big/model.safetensors", noise(kBig, 2));
  serve();
  EXPECT_EQ(pull().files.at(0).resumed, 0);
  expect_file();

  const fs::path other = scratch / "other";
  write(other, noise(kBig, 3));
  fs::remove_all(target);
  serve(big_fault({{"kind", "swap"}, {"file", other.string()}, {"skip", 3}}));
  const Error error = failed_pull();
  EXPECT_THAT(error.what(), HasSubstr("did it change on the server?"));
  EXPECT_FALSE(fs::exists(target / "model.safetensors"));
  for (const json& request : HubServer::get().requests("plain")) {
    EXPECT_EQ(request["if_range"].is_null(), request["range"].is_null());
  }
}

}  // namespace
}  // namespace glmimage::hub::test
