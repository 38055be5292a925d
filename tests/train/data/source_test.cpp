#include "train/data/source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "train/data/data_helpers.h"

namespace glmimage::train {
namespace {

namespace fs = std::filesystem;
using test::Tar;
using test::write_pair;
using test::write_text;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct Opened {
  std::unique_ptr<Source> source;
  SourceReport report;
  std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const Record& record : source->records()) names.push_back(record.target.name);
    return names;
  }
  // "reason name: why" of everything skipped
  std::vector<std::string> skipped() const {
    std::vector<std::string> lines;
    for (const Skipped& item : report.skipped)
      lines.push_back(concat(name_of(item.reason), " ", item.name, ": ", item.why));
    return lines;
  }
};

Opened open(const std::string& source, const DataConfig& config = {}) {
  Opened out;
  out.source = open_source(source, config, 1, out.report);
  EXPECT_EQ(out.report.used, static_cast<int64_t>(out.source->records().size()));
  return out;
}

TEST(FolderSource, ReadsPicturesAndCaptionsBelow) {
  const fs::path folder = test::scratch_folder();
  write_pair(folder / "b.png", 40, 50, "one\ntwo\n");
  write_pair(folder / "deep/er/a.PNG", 60, 40, "three");
  write_pair(folder / "c.png", 32, 32, "");
  write_text(folder / "c.json", R"({"captions": ["x", "y"], "repeats": 3})");
  write_pair(folder / "d.v2.png", 32, 32, "");
  write_text(folder / "d.v2.caption", "kohya's name for it");
  write_pair(folder / ".hidden/e.png", 32, 32);
  write_pair(folder / "._b.png", 32, 32);
  write_text(folder / "notes.md", "no picture");
  const Opened opened = open(folder);
  EXPECT_THAT(opened.names(), ElementsAre("b.png", "c.png", "d.v2.png", "deep/er/a.PNG"));
  EXPECT_THAT(opened.skipped(), ElementsAre());
  const auto& records = opened.source->records();
  EXPECT_THAT(records[0].captions, ElementsAre("one", "two"));
  EXPECT_EQ(records[0].target.size, (PictureSize{40, 50}));
  EXPECT_THAT(records[1].captions, ElementsAre("x", "y"));
  EXPECT_EQ(records[1].repeats, 3);
  EXPECT_THAT(records[2].captions, ElementsAre("kohya's name for it"));
  EXPECT_EQ(opened.source->read(records[0].target).pixels, test::placed(40, 50).pixels);
}

TEST(FolderSource, NamesWhatItSkips) {
  const fs::path folder = test::scratch_folder();
  write_pair(folder / "good.png", 64, 64);
  write_pair(folder / "mute.png", 64, 64, "");
  write_pair(folder / "blank.png", 64, 64, " \n");
  write_pair(folder / "dot.png", 1, 1);
  write_pair(folder / "long.png", 400, 64);
  write_pair(folder / "latin.png", 64, 64, "caf\xe9");
  write_pair(folder / "list.png", 64, 64, "");
  write_text(folder / "list.json", "[1]");
  std::string huge = test::png_text(4, 4);
  huge.replace(16, 8, std::string("\0\0\x4e\x20\0\0\x4e\x20", 8));  // 20,000 x 20,000
  write_text(folder / "huge.png", huge), write_text(folder / "huge.txt", "huge");
  write_text(folder / "page.jpg", "<html>"), write_text(folder / "page.txt", "a web page");
  write_text(folder / "empty.png", ""), write_text(folder / "empty.txt", "empty");
  write_text(folder / "cut.png", test::png_text(64, 64).substr(0, 20)), write_text(folder / "cut.txt", "cut");
  fs::create_symlink(folder / "nothing", folder / "gone.png"), write_text(folder / "gone.txt", "gone");
  const Opened opened = open(folder);
  EXPECT_THAT(opened.names(), ElementsAre("good.png"));
  EXPECT_THAT(
      opened.skipped(),
      ElementsAre(HasSubstr("no_caption blank.png"),
                  HasSubstr("unreadable cut.png: cut.png: this picture is "
                            "broken: its header ends early"),
                  HasSubstr("too_small dot.png: is 1 x 1 px"), HasSubstr("unreadable empty.png"),
                  AllOf(HasSubstr("unreadable gone.png"), HasSubstr("no such file")),
                  HasSubstr("too_large huge.png: is 20000 x 20000 px; at most 16384"),
                  HasSubstr("bad_caption latin.png"), HasSubstr("bad_caption list.png"),
                  HasSubstr("too_long long.png: is 400 x 64 px; at most 4 to 1"), HasSubstr("no_caption mute.png"),
                  AllOf(HasSubstr("unreadable page.jpg"), HasSubstr("a web page or XML file"))));
  EXPECT_THAT(opened.report.summary(2), AllOf(HasSubstr("1 picture; 11 skipped: 4 unreadable (cut.png, empty.png, …)"),
                                              HasSubstr("2 no_caption (blank.png, mute.png)")));
  EXPECT_EQ(opened.report.to_json()["skipped"]["unreadable"], 4);
  EXPECT_EQ(opened.report.to_json()["skipped_entries"].size(), 11U);
  DataConfig optional;
  optional.captions = CaptionRule::optional;
  EXPECT_THAT(open(folder, optional).names(), ElementsAre("blank.png", "good.png", "mute.png"));
}

TEST(FolderSource, NothingToUseIsAnError) {
  const fs::path folder = test::scratch_folder();
  EXPECT_THAT(test::usage_error([&] { open(folder / "none"); }),
              AllOf(HasSubstr("no such file or folder"), HasSubstr("expected a folder of pictures, a list")));
  EXPECT_THAT(test::usage_error([&] { open(folder); }), HasSubstr("nothing to learn from; looked for pictures"));
  write_pair(folder / "a.png", 64, 64, "");
  write_pair(folder / "b.png", 8, 8);
  EXPECT_THAT(test::usage_error([&] { open(folder); }),
              AllOf(HasSubstr("nothing of it can be used: 0 pictures; 2 skipped"), HasSubstr("1 no_caption (a.png)"),
                    HasSubstr("the first: a.png: no caption was found")));
  write_text(folder / "x.zip", "PK");
  EXPECT_THAT(test::usage_error([&] { open(folder / "x.zip"); }), HasSubstr("is no data set"));
}

TEST(JsonLinesSource, ReadsEveryField) {
  const fs::path folder = test::scratch_folder();
  for (const char* name : {"a.png", "sub/b.png", "s1.png", "s2.png"}) write_pair(folder / name, 64, 48, "");
  write_text(folder / "list.jsonl",
             "\xEF\xBB\xBF{\"image\": \"a.png\", \"caption\": \"one\"}\r\n\n"
             R"({"image": "sub/b.png", "captions": ["make it red", "paint it red"], "sources": ["s1.png", "s2.png"],)"
             R"( "repeats": 2})"
             "\n"
             R"({"file_name": ")" +
                 (folder / "a.png").native() + R"(", "text": "t", "width": 640, "height": 480, "source": "s1.png"})");
  const Opened opened = open(folder / "list.jsonl");
  EXPECT_THAT(opened.skipped(), ElementsAre());
  const auto& records = opened.source->records();
  ASSERT_EQ(records.size(), 3U);
  EXPECT_THAT(records[0].captions, ElementsAre("one"));
  EXPECT_THAT(records[1].captions, ElementsAre("make it red", "paint it red"));
  EXPECT_EQ(records[1].repeats, 2);
  ASSERT_EQ(records[1].sources.size(), 2U);
  EXPECT_EQ(records[1].sources[1].name, "s2.png");
  EXPECT_EQ(records[1].sources[1].size, (PictureSize{64, 48}));
  EXPECT_EQ(records[2].target.size, (PictureSize{640, 480}));  // believed
  EXPECT_EQ(opened.source->read(records[2].sources[0]).width, 64);
  fs::rename(folder / "list.jsonl", folder / "metadata.jsonl");
  EXPECT_EQ(open(folder).source->records().size(), 3U);
}

TEST(JsonLinesSource, NamesWhatItSkips) {
  const fs::path folder = test::scratch_folder();
  write_pair(folder / "a.png", 64, 64, "");
  write_text(folder / "l.jsonl",
             "{\"image\": \"a.png\", \"caption\": \"ok\"}\n"
             "{\"image\": \"a.png\"}\n"
             "not json\n"
             "[1, 2]\n"
             "{\"caption\": \"x\"}\n"
             "{\"image\": \"none.png\", \"caption\": \"x\"}\n"
             "{\"image\": \"a.png\", \"caption\": 5}\n"
             "{\"image\": \"a.png\", \"caption\": \"x\", \"sources\": [\"none.png\"]}\n"
             "{\"image\": \"a.png\", \"caption\": \"x\", \"source\": 5}\n"
             "{\"image\": \"a.png\", \"caption\": \"x\", \"width\": -1, \"height\": 5}\n"
             "{\"image\": \"a.png\", \"caption\": \"x\", \"repeats\": 0}\n"
             "{\"image\": \"a.png\", \"caption\": \"\xff\"}\n");
  const Opened opened = open(folder / "l.jsonl");
  EXPECT_EQ(opened.source->records().size(), 1U);
  EXPECT_THAT(
      opened.skipped(),
      ElementsAre(HasSubstr("no_caption a.png"), HasSubstr("bad_entry l.jsonl:3: l.jsonl:3: not valid JSON"),
                  HasSubstr("bad_entry l.jsonl:4"), HasSubstr("expected a field 'image'"),
                  AllOf(HasSubstr("unreadable l.jsonl:6"), HasSubstr("none.png: no such file")),
                  HasSubstr("'caption' should be"), HasSubstr("unreadable l.jsonl:8"), HasSubstr("'source' should be"),
                  HasSubstr("whole numbers of pixels"), HasSubstr("'repeats'"), HasSubstr("bad_entry l.jsonl:12")));
  write_text(folder / "empty.jsonl", "\n");
  EXPECT_THAT(test::usage_error([&] { open(folder / "empty.jsonl"); }), HasSubstr("it holds no entries"));
}

TEST(ShardSource, GroupsMembersByBasename) {
  const fs::path folder = test::scratch_folder();
  Tar tar;
  tar.add("x/0001.png", test::png_text(64, 48, 1)).add("x/0001.txt", "one\nuno");
  tar.add("x/0002.json", R"({"caption": "two", "repeats": 2})").add("x/0002.png", test::png_text(40, 40, 2));
  tar.add("x/0002.txt", "not read: json has captions");
  tar.add("0003.png", test::png_text(40, 40, 3)).add("0003.source.png", test::png_text(50, 40, 4));
  tar.add("0003.txt", "make it so");
  tar.add("0004.txt", "no picture").add("0005.png", "no png").add("0005.txt", "x");
  tar.add("0006.png", test::png_text(40, 40)).add("0006.json", "{");
  write_text(folder / "s-0000.tar", tar.finished());
  const Opened opened = open(folder / "s-0000.tar");
  EXPECT_THAT(opened.names(), ElementsAre("s-0000.tar: x/0001.png", "s-0000.tar: x/0002.png", "s-0000.tar: 0003.png"));
  EXPECT_THAT(opened.skipped(),
              ElementsAre(HasSubstr("bad_entry s-0000.tar: 0004: a sample without a picture"),
                          HasSubstr("unreadable s-0000.tar: 0005.png"), HasSubstr("bad_caption s-0000.tar: 0006.png")));
  const auto& records = opened.source->records();
  EXPECT_THAT(records[0].captions, ElementsAre("one", "uno"));
  EXPECT_THAT(records[1].captions, ElementsAre("two"));
  EXPECT_EQ(records[1].repeats, 2);
  ASSERT_EQ(records[2].sources.size(), 1U);
  EXPECT_EQ(opened.source->read(records[2].target).pixels, test::placed(40, 40, 3).pixels);
  EXPECT_EQ(opened.source->read(records[2].sources[0]).pixels, test::placed(50, 40, 4).pixels);
}

TEST(ShardSource, FoldersPatternsAndBrokenShards) {
  const fs::path folder = test::scratch_folder();
  const auto shard = [](int number) {
    return Tar().add("a.png", test::png_text(40, 40, number)).add("a.txt", concat("picture ", number)).finished();
  };
  for (int i = 0; i < 3; ++i) write_text(folder / concat("s-", i, ".tar"), shard(i));
  EXPECT_EQ(open(folder).source->records().size(), 3U);
  EXPECT_EQ(open((folder / "s-{0..1}.tar").native()).source->records().size(), 2U);
  EXPECT_THAT(test::usage_error([&] { open((folder / "s-{0..7}.tar").native()); }), HasSubstr("s-3.tar: no such file"));
  write_text(folder / "s-3.tar", shard(3).substr(0, 600));
  write_text(folder / "s-4.tar", "\x1f\x8b" + shard(4));
  const Opened opened = open(folder);
  EXPECT_EQ(opened.source->records().size(), 3U);
  EXPECT_THAT(opened.skipped(), ElementsAre(AllOf(HasSubstr("broken_archive s-3.tar"), HasSubstr("incomplete")),
                                            AllOf(HasSubstr("broken_archive s-4.tar"), HasSubstr("gzip"))));
  EXPECT_THAT(test::usage_error([&] { open(folder / "s-4.tar"); }), HasSubstr("gzip"));
  EXPECT_THAT(test::usage_error([&] { open(folder / "s-3.tar"); }), HasSubstr("nothing of it can be used"));
}

TEST(FileSource, AFileThatShrankIsNamed) {
  const fs::path folder = test::scratch_folder();
  write_pair(folder / "a.png", 64, 64);
  const Opened opened = open(folder);
  fs::resize_file(folder / "a.png", 50);
  EXPECT_THAT(test::usage_error([&] { opened.source->read(opened.source->records()[0].target); }),
              HasSubstr("earlier than when the run began; was it changed?"));
}

TEST(SyntheticSource, IsTheWorld) {
  DataConfig config;
  config.areas = {64, 32};
  const Opened opened = open("synthetic:20", config);
  ASSERT_EQ(opened.source->records().size(), 20U);
  std::set<std::string> captions;
  for (const Record& record : opened.source->records()) captions.insert(record.captions.at(0));
  EXPECT_GT(captions.size(), 15U);
  const Picture& picture = opened.source->records()[7].target;
  EXPECT_EQ(picture.size, (PictureSize{64, 64}));
  const Image image = opened.source->read(picture);
  EXPECT_EQ(image.width, 64);
  EXPECT_EQ(image.pixels, open("synthetic:8", config).source->read(picture).pixels);
  EXPECT_EQ(opened.source->identity(picture), open("synthetic:8", config).source->identity(picture));
  config.areas = {};
  EXPECT_THAT(test::usage_error([&] { open("synthetic:8", config); }), HasSubstr("'areas' is empty"));
  EXPECT_THAT(test::usage_error([] { open("synthetic:0"); }), HasSubstr("expected synthetic:COUNT"));
  EXPECT_THAT(test::usage_error([] { open("synthetic:x"); }), HasSubstr("expected synthetic:COUNT"));
}

TEST(Report, FileNamesOfAnyBytesAreWritten) {
  const fs::path file = test::scratch_folder() / "data_report.json";
  SourceReport report{"x", 0, {}};
  report.skip(Skip::unreadable, "caf\xe9.png", "why");
  write_report(file, report.to_json());
  std::ifstream stream(file);
  EXPECT_EQ(nlohmann::json::parse(stream)["skipped_entries"][0]["name"], "caf\xEF\xBF\xBD.png");
}

}  // namespace
}  // namespace glmimage::train
