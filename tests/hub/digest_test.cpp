#include "hub/digest.h"

#include <gtest/gtest.h>

#include <fstream>

#include "core/error.h"
#include "support/goldens.h"

namespace glmimage::hub {
namespace {

TEST(FileDigest, IsTheOneOfSha256sumAndGit) {
  const std::filesystem::path file = glmimage::test::scratch_folder() / "a";
  std::ofstream(file) << "";
  EXPECT_EQ(file_digest(file, DigestKind::sha256), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(file_digest(file, DigestKind::git_sha1), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
  std::ofstream(file) << "hello\n";
  EXPECT_EQ(file_digest(file, DigestKind::sha256), "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03");
  EXPECT_EQ(file_digest(file, DigestKind::git_sha1), "ce013625030ba8dba906f756967f9e9ca394464a");
}

TEST(FileDigest, StopsWhenItIsTold) {
  const std::filesystem::path file = glmimage::test::scratch_folder() / "a";
  std::ofstream(file) << "hello\n";
  EXPECT_THROW(file_digest(file, DigestKind::sha256, [] { return true; }), Error);
  EXPECT_THROW(file_digest(file.string() + ".missing", DigestKind::sha256), Error);
}

}  // namespace
}  // namespace glmimage::hub
