#include "core/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <functional>

#include "core/error.h"
#include "support/goldens.h"

namespace glmimage {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string refusal(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::checkpoint);
    return e.what();
  }
  ADD_FAILURE() << "nothing was refused";
  return "";
}

JsonObject parse(const char* text) { return {"config.json", "", nlohmann::json::parse(text)}; }

TEST(Json, ReadsFields) {
  const JsonObject o =
      parse(R"({"i":-3,"n":2,"x":0.5,"b":true,"t":"ü","null":null,"is":[1,2],"xs":[1,0.5],"o":{"p":{"deep":7}}})");
  EXPECT_EQ(o.integer("i"), -3);
  EXPECT_EQ(o.positive("n"), 2);
  EXPECT_EQ(o.number("x"), 0.5);
  EXPECT_EQ(o.number("n"), 2.0);
  EXPECT_TRUE(o.boolean("b"));
  EXPECT_EQ(o.text("t"), "ü");
  EXPECT_THAT(o.integers("is"), ElementsAre(1, 2));
  EXPECT_THAT(o.numbers("xs"), ElementsAre(1, 0.5));
  EXPECT_EQ(o.object("o").object("p").integer("deep"), 7);
  EXPECT_TRUE(o.has("i"));
  EXPECT_FALSE(o.has("null"));
  EXPECT_FALSE(o.has("absent"));
}

TEST(Json, FallsBackForMissingAndNullOnly) {
  const JsonObject o = parse(R"({"null":null,"t":"text"})");
  EXPECT_EQ(o.integer_or("null", 4), 4);
  EXPECT_EQ(o.number_or("absent", 0.5), 0.5);
  EXPECT_TRUE(o.boolean_or("absent", true));
  EXPECT_EQ(o.text_or("absent", "d"), "d");
  EXPECT_THAT(refusal([&] { o.integer_or("t", 4); }), HasSubstr("'t' should be an integer"));
}

TEST(Json, RefusalsNameFileAndField) {
  const JsonObject o = parse(R"({"i":1.5,"z":0,"big":2147483649,"t":1,"is":[1,"x"],"xs":1,"o":{"p":{}}})");
  EXPECT_THAT(refusal([&] { o.integer("absent"); }), AllOf(HasSubstr("config.json"), HasSubstr("'absent' is missing")));
  EXPECT_THAT(refusal([&] { o.object("o").object("p").text("q"); }), HasSubstr("'o.p.q' is missing"));
  EXPECT_THAT(refusal([&] { o.integer("i"); }), HasSubstr("not 1.5"));
  EXPECT_THAT(refusal([&] { o.positive("z"); }), HasSubstr("positive"));
  EXPECT_THAT(refusal([&] { o.positive("big"); }), HasSubstr("positive"));
  EXPECT_THAT(refusal([&] { o.text("t"); }), HasSubstr("text"));
  EXPECT_THAT(refusal([&] { o.boolean("t"); }), HasSubstr("true or false"));
  EXPECT_THAT(refusal([&] { o.integers("is"); }), HasSubstr("list of integers"));
  EXPECT_THAT(refusal([&] { o.numbers("xs"); }), HasSubstr("list of numbers"));
  EXPECT_THAT(refusal([&] { o.number("is"); }), HasSubstr("number"));
  EXPECT_THAT(refusal([&] { o.object("t"); }), HasSubstr("object"));
}

TEST(Json, RefusesBrokenFiles) {
  const auto file = test::scratch_folder() / "config.json";
  EXPECT_THAT(refusal([&] { JsonObject::open(file); }), HasSubstr("cannot be opened"));
  for (const char* text : {"", "{", "{} {}", "{\"a\":\"\xff\"}"}) {
    std::ofstream(file) << text;
    EXPECT_THAT(refusal([&] { JsonObject::open(file); }), AllOf(HasSubstr("config.json"), HasSubstr("not valid JSON")));
  }
  std::ofstream(file) << "[]";
  EXPECT_THAT(refusal([&] { JsonObject::open(file); }), HasSubstr("expected a JSON object"));
  std::ofstream(file) << R"({"a":1})";
  EXPECT_EQ(JsonObject::open(file).integer("a"), 1);
}

// An integer that only fits an unsigned 64-bit number must not turn negative.
TEST(Json, RefusesIntegersBeyond64Bits) {
  const JsonObject o = parse(R"({"u":18446744073709551615,"l":[18446744073709551615]})");
  EXPECT_THAT(refusal([&] { o.integer("u"); }), HasSubstr("'u'"));
  EXPECT_THAT(refusal([&] { o.integers("l"); }), HasSubstr("'l'"));
}

}  // namespace
}  // namespace glmimage
