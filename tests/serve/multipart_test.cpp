#include "serve/multipart.h"

#include <gmock/gmock.h>

#include "serve/refusal.h"

namespace glmimage::serve {
namespace {

using ::testing::HasSubstr;

constexpr const char* kType = "multipart/form-data; boundary=b";

std::string part(const std::string& disposition, const std::string& content) {
  return "--b\r\nContent-Disposition: " + disposition + "\r\n\r\n" + content + "\r\n";
}

TEST(Multipart, ReadsFieldsAndFiles) {
  const std::string body =
      part("form-data; name=\"prompt\"", "a cat\r\non two lines") +
      "--b\r\ncontent-type: image/png\r\nCONTENT-DISPOSITION: Form-Data; filename=\"a \\\"b\\\".png\"; "
      "name=image\r\n\r\n" +
      std::string("\0\r\n--x", 6) + "\r\n" + part("form-data; name=\"empty\"", "") + "--b--\r\nepilogue";
  const std::vector<FormPart> parts = parse_form(body, "Multipart/Form-Data; charset=utf-8; BOUNDARY=\"b\"");
  ASSERT_EQ(parts.size(), 3u);
  EXPECT_EQ(parts[0].name, "prompt");
  EXPECT_EQ(parts[0].content, "a cat\r\non two lines");
  EXPECT_EQ(parts[1].name, "image");
  EXPECT_EQ(parts[1].file_name, "a \"b\".png");
  EXPECT_EQ(parts[1].content, std::string_view("\0\r\n--x", 6));
  EXPECT_EQ(parts[2].content, "");
}

TEST(Multipart, TakesAPreambleAndNothingElse) {
  EXPECT_EQ(parse_form("preamble\r\n" + part("form-data; name=a", "1") + "--b--", kType).size(), 1u);
  EXPECT_TRUE(parse_form("--b--", kType).empty());
}

TEST(Multipart, SaysWhatIsBroken) {
  const auto says = [](const std::string& body, const std::string& type, const char* what) {
    try {
      parse_form(body, type);
      ADD_FAILURE() << "took " << body;
    } catch (const Refusal& refusal) {
      EXPECT_EQ(refusal.status, 400);
      EXPECT_THAT(refusal.what(), HasSubstr(what));
    }
  };
  const std::string good = part("form-data; name=a", "1") + "--b--";
  says(good, "multipart/form-data", "boundary");
  says(good, "multipart/form-data; boundary=", "boundary");
  says(good, "multipart/form-data; boundary=" + std::string(71, 'b'), "70");
  says(good, "multipart/form-data; boundary=c", "does not occur");
  says("", kType, "does not occur");
  says(part("form-data; name=a", "1"), kType, "cut short");
  says("--b\r\n", kType, "cut short");
  says(part("form-data", "1") + "--b--", kType, "no name");
  says(part("form-data; name=\"a", "1") + "--b--", kType, "not closed");
  says(part("attachment; name=a", "1") + "--b--", kType, "form-data");
  says("--b\r\nnonsense\r\n\r\n1\r\n--b--", kType, "colon");
  says("--b\r\nA: b\r\n\r\n1\r\n--b--", kType, "Content-Disposition");
  says("--b\r\nA: " + std::string(10000, 'x') + "\r\n\r\n1\r\n--b--", kType, "too long");
  says("--bx\r\n", kType, "line end");
  std::string many;
  for (int i = 0; i < 65; ++i) many += part("form-data; name=a", "1");
  says(many + "--b--", kType, "64 parts");
}

// Every cut and every changed byte of a good body is read or refused; none is read beyond its end (run under ASan).
TEST(Multipart, SurvivesChanges) {
  const std::string good =
      part("form-data; name=\"a\"; filename=\"x\"", "1") + part("form-data; name=b", "2") + "--b--";
  for (size_t i = 0; i < good.size(); ++i) {
    for (const std::string& changed :
         {good.substr(0, i), good.substr(i), good.substr(0, i) + "\r\n--b" + good.substr(i),
          good.substr(0, i) + "\"" + good.substr(i + 1)}) {
      try {
        for (const FormPart& each : parse_form(changed, kType)) {
          EXPECT_LE(each.content.data() + each.content.size(), changed.data() + changed.size());
        }
      } catch (const Refusal&) {
      }
    }
  }
}

}  // namespace
}  // namespace glmimage::serve
