#include "train/data/tar_index.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "train/data/data_helpers.h"
#include "train/data/extent.h"

namespace glmimage::train {
namespace {

namespace fs = std::filesystem;
using test::Tar;
using ::testing::AllOf;
using ::testing::HasSubstr;

fs::path archive(const std::string& bytes) {
  const fs::path file = test::scratch_folder() / "a.tar";
  test::write_text(file, bytes);
  return file;
}

std::string content(const fs::path& file, const TarMember& member) {
  const std::vector<uint8_t> bytes =
      ExtentReader({std::make_shared<const fs::path>(file), member.offset, member.size}).all();
  return {bytes.begin(), bytes.end()};
}

TEST(TarIndex, FindsMembersOfEveryFormat) {
  const std::string folders = std::string(90, 'd') + "/" + std::string(60, 'e');
  const std::string long_name = std::string(150, 'g') + ".txt";
  Tar tar;
  tar.add("plain.txt", "one").add("empty.txt", "");
  tar.add(folders + "/" + std::string(80, 'f') + ".txt", "two");  // needs the prefix
  tar.add_gnu(long_name, "three").add_pax("käse/" + long_name, "four");
  tar.add("folder/", "", '5').add("link", "", '2');
  tar.add("global", Tar::record("path", "not for the next"), 'g').add("after.txt", std::string(1000, 'x'));
  const fs::path file = archive(tar.finished());
  const TarIndex index = index_tar(file);
  EXPECT_EQ(index.fault, "");
  ASSERT_EQ(index.members.size(), 6U);
  const std::vector<std::pair<std::string, std::string>> expected = {
      {"plain.txt", "one"},
      {"empty.txt", ""},
      {folders + "/" + std::string(80, 'f') + ".txt", "two"},
      {long_name, "three"},
      {"käse/" + long_name, "four"},
      {"after.txt", std::string(1000, 'x')}};
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(index.members[i].name, expected[i].first);
    EXPECT_EQ(content(file, index.members[i]), expected[i].second);
  }
}

TEST(TarIndex, ReadsSizesInBase256) {
  Tar tar;
  tar.header("big.bin", 3, '0');
  std::string bytes = tar.unfinished();
  const std::string size = std::string("\x80", 1) + std::string(10, '\0') + "\x03";
  bytes.replace(124, 12, size);
  bytes.replace(148, 8, "        ");
  unsigned sum = 0;
  for (char c : bytes) sum += static_cast<uint8_t>(c);
  char digits[8];
  std::snprintf(digits, sizeof digits, "%06o", sum);
  bytes.replace(148, 7, std::string(digits, 7));
  const TarIndex index = index_tar(archive(Tar().raw(bytes).raw("abc" + std::string(509, '\0')).finished()));
  ASSERT_EQ(index.members.size(), 1U) << index.fault;
  EXPECT_EQ(index.members[0].size, 3U);
}

TEST(TarIndex, CutArchivesGiveWhatIsWhole) {
  Tar tar;
  tar.add("one.txt", std::string(700, 'a')).add("two.txt", std::string(700, 'b'));
  const std::string bytes = tar.finished();
  for (size_t length = 1; length < bytes.size(); length += 53) {
    const fs::path file = archive(bytes.substr(0, length));
    if (length < 512) {
      EXPECT_THAT(test::usage_error([&] { index_tar(file); }), HasSubstr("too short for a tar archive"));
      continue;
    }
    const TarIndex index = index_tar(file);
    EXPECT_EQ(index.members.size(), length < 512 + 700 ? 0U : length < 1536 + 512 + 700 ? 1U : 2U) << length;
    for (const TarMember& member : index.members) EXPECT_LE(member.offset + member.size, length);
  }
  EXPECT_THAT(index_tar(archive(bytes.substr(0, 1000))).fault,
              AllOf(HasSubstr("ends at byte 1000 but the member 'one.txt' has 700 bytes from byte 512 on"),
                    HasSubstr("incomplete download?")));
  EXPECT_THAT(index_tar(archive(bytes.substr(0, 1736))).fault, HasSubstr("ends at byte 1736 inside a header"));
}

TEST(TarIndex, DamageIsNamed) {
  Tar tar;
  tar.add("one.txt", "a").add("two.txt", "b");
  std::string bytes = tar.finished();
  bytes[1024 + 5] ^= 1;
  const TarIndex index = index_tar(archive(bytes));
  EXPECT_EQ(index.members.size(), 1U);
  EXPECT_THAT(index.fault, HasSubstr("no tar header at byte 1024"));

  EXPECT_THAT(index_tar(archive(Tar().add("x", "9999999 path=a\n", 'x').finished())).fault,
              HasSubstr("an extended header at byte 512 makes no sense"));
  Tar huge_name;
  huge_name.header("././@LongLink", uint64_t{1} << 32, 'L');
  EXPECT_THAT(index_tar(archive(huge_name.finished())).fault, HasSubstr("has 4294967296 bytes"));
  EXPECT_THAT(index_tar(archive(Tar().add("s", "", 'S').finished())).fault, HasSubstr("sparse"));
  const std::string overflow = Tar::record("size", "18446744073709551615");
  EXPECT_THAT(index_tar(archive(Tar().add("x", overflow, 'x').add("y", "z").finished())).fault,
              HasSubstr("has 18446744073709551615 bytes"));
}

TEST(TarIndex, OtherFilesAreRefused) {
  EXPECT_THAT(test::usage_error([] { index_tar(archive("")); }), HasSubstr("is empty; expected a .tar archive"));
  EXPECT_THAT(test::usage_error([] { index_tar(archive(std::string(2000, 'x'))); }),
              HasSubstr("does not begin with a tar header"));
  EXPECT_THAT(test::usage_error([] { index_tar(archive("\x1f\x8b" + std::string(2000, 'x'))); }),
              HasSubstr("compressed (gzip)"));
  EXPECT_THAT(test::usage_error([] { index_tar("/nowhere/a.tar"); }), HasSubstr("no such file"));
}

}  // namespace
}  // namespace glmimage::train
