#include "core/xmp.h"

#include <gmock/gmock.h>

#include <chrono>
#include <random>

#include "core/error.h"

namespace glmimage {
namespace {

using ::testing::HasSubstr;

const XmpFields kFields = {.creator_tool = "glm-image 0.1.0",
                           .digital_source_type = "http://x/y#z",
                           .aigc_label = R"({"Label":"1","a":"<&>'"})",
                           .recipe = "{\"prompt\":\"]]> <!-- -->\"}",
                           .extension = "0123"};

std::string in_rdf(const std::string& inside) {
  return "<rdf:RDF xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\">" + inside + "</rdf:RDF>";
}

std::string refusal(const std::string& packet) {
  try {
    read_xmp(packet);
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::usage);
    return e.what();
  }
  ADD_FAILURE() << "accepted: " << packet.substr(0, 200);
  return "";
}

TEST(Xmp, GoesBothWays) {
  EXPECT_EQ(read_xmp(write_xmp(kFields)), kFields);
  EXPECT_EQ(write_xmp({}), "");
  EXPECT_THAT(write_xmp(kFields), HasSubstr("<TC260:AIGC>{\"Label\":\"1\""));
  const XmpFields odd{.creator_tool = std::string("a\x01\x1b", 3) + "\xff 猫"};
  EXPECT_EQ(read_xmp(write_xmp(odd)).creator_tool, "a\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD 猫");
}

// Other programs write properties as attributes, choose other prefixes, and several descriptions.
TEST(Xmp, ReadsOtherSpellings) {
  const std::string attributes = in_rdf(
      "<rdf:Description xmlns:q=\"http://www.tc260.org.cn/ns/AIGC/1.0/\" q:AIGC=\"{&quot;Label&quot;:&quot;2&quot;}\"/>"
      "<rdf:Description xmlns:p='http://ns.adobe.com/xap/1.0/'><p:CreatorTool>GIMP &#x732b;</p:CreatorTool>"
      "</rdf:Description>");
  const XmpFields fields = read_xmp(attributes);
  EXPECT_EQ(fields.aigc_label, R"({"Label":"2"})");
  EXPECT_EQ(fields.creator_tool, "GIMP 猫");
  // The name alone, of another space, is another property.
  EXPECT_EQ(read_xmp(in_rdf("<rdf:Description xmlns:q=\"urn:x\" q:AIGC=\"x\"/>")).aigc_label, "");
}

TEST(Xmp, RefusesWhatIsNoPacket) {
  EXPECT_THAT(refusal(""), HasSubstr("no XML"));
  EXPECT_THAT(refusal("<a>"), HasSubstr("no XML"));
  EXPECT_THAT(refusal("<a/>"), HasSubstr("without RDF"));
  const std::string good = write_xmp(kFields);
  EXPECT_THAT(refusal(good.substr(0, good.size() / 2)), HasSubstr("no XML"));
}

TEST(Xmp, EntitiesAreNotExpanded) {
  const std::string bomb =
      "<!DOCTYPE x [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;\"><!ENTITY f SYSTEM \"file:///etc/passwd\">]>" +
      in_rdf(
          "<rdf:Description "
          "xmlns:p='http://ns.adobe.com/xap/1.0/'><p:CreatorTool>&b;&f;</p:CreatorTool></rdf:Description>");
  EXPECT_EQ(read_xmp(bomb).creator_tool, "&b;&f;");
}

// Packets that are made to take long, or deep.
TEST(Xmp, TakesNoTimeOverAttacks) {
  const auto began = std::chrono::steady_clock::now();
  std::string attributes, elements, depth;
  for (int i = 0; i < 200000; ++i) attributes += " q:AIGC=\"\"";
  for (int i = 0; i < 200000; ++i) elements += "<q:AIGC/>";
  for (int i = 0; i < 300000; ++i) depth += "<q:a>";
  read_xmp(in_rdf("<rdf:Description" + attributes + ">" + elements + "</rdf:Description>"));
  EXPECT_THAT(refusal(in_rdf("<rdf:Description>" + depth)), HasSubstr("no XML"));
  std::string closed = depth;
  for (int i = 0; i < 300000; ++i) closed += "</q:a>";
  read_xmp(in_rdf("<rdf:Description>" + closed + "</rdf:Description>"));
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(5));
}

TEST(Xmp, SurvivesNoise) {
  const std::string good = write_xmp(kFields);
  std::mt19937 random(7);
  for (int round = 0; round < 5000; ++round) {
    std::string bad = good;
    for (int i = 0; i < 3; ++i) bad[random() % bad.size()] = static_cast<char>(random());
    try {
      read_xmp(bad);
    } catch (const Error&) {
    }
  }
}

}  // namespace
}  // namespace glmimage
