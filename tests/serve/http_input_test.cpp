// What comes from clients before anything is drawn: targets, fields, base64, pictures, URLs of pictures.
#include <gmock/gmock.h>

#include "serve/base64.h"
#include "serve/draw_request.h"
#include "serve/fetch_picture.h"
#include "serve/fields.h"
#include "serve/picture_input.h"
#include "serve/router.h"

namespace glmimage::serve {
namespace {

using ::testing::HasSubstr;

// The refusal that `act` throws.
template <typename Act>
Refusal refusal_from(Act act) {
  try {
    act();
  } catch (const Refusal& refusal) {
    return refusal;
  }
  ADD_FAILURE() << "nothing was refused";
  return {200, ""};
}

TEST(Target, IsDecodedOrRefused) {
  Request request;
  ASSERT_TRUE(parse_target("/v1/jobs/a%2Fb?search=red+cat%21&limit=2&empty=&flag", request));
  EXPECT_EQ(request.path, "/v1/jobs/a/b");
  EXPECT_EQ(request.query["search"], "red cat!");
  EXPECT_EQ(request.query["limit"], "2");
  EXPECT_EQ(request.query.count("flag"), 1u);
  for (const char* bad : {"", "*", "v1", "http://a/", "/%", "/%zz", "/%00", "/?a=%00", "/a b", "/\x80"}) {
    Request other;
    EXPECT_FALSE(parse_target(bad, other)) << bad;
  }
}

TEST(Fields, AreOfTheirType) {
  Fields fields = Fields::parse(R"({"i":3,"whole":2.0,"f":2.5,"t":"x","b":true,"n":null,"big":18446744073709551615})");
  EXPECT_EQ(fields.integer("i", 0, 9), 3);
  EXPECT_EQ(fields.integer("whole", 0, 9), 2);
  EXPECT_EQ(fields.number("f", 0, 9), 2.5);
  EXPECT_EQ(fields.boolean("b"), true);
  EXPECT_FALSE(fields.text("n"));
  EXPECT_FALSE(fields.text("missing"));
  EXPECT_EQ(refusal_from([&] { fields.integer("f", 0, 9); }).param, "f");
  EXPECT_EQ(refusal_from([&] { fields.integer("t", 0, 9); }).code, "invalid_type");
  EXPECT_THAT(refusal_from([&] { fields.integer("i", 4, 9); }).what(), HasSubstr("between 4 and 9, not 3"));
  EXPECT_EQ(refusal_from([&] { fields.integer("big", 0, INT64_MAX); }).param, "big");
  EXPECT_EQ(refusal_from([&] { fields.text("t", 0); }).code, "string_above_max_length");
  EXPECT_EQ(refusal_from([&] { fields.one_of("t", {"y", "z"}); }).param, "t");
  fields.raw("big");
  fields.refuse_unknown();
  Fields strange = Fields::parse(R"({"sede":1})");
  EXPECT_EQ(refusal_from([&] { strange.refuse_unknown(); }).code, "unknown_parameter");
}

TEST(Fields, OfAFormAreText) {
  Fields fields({{"n", "2"}, {"f", "1.5"}, {"b", "true"}, {"bad", "2x"}, {"inf", "inf"}}, Fields::Origin::form);
  EXPECT_EQ(fields.integer("n", 0, 9), 2);
  EXPECT_EQ(fields.number("f", 0, 9), 1.5);
  EXPECT_EQ(fields.boolean("b"), true);
  EXPECT_EQ(refusal_from([&] { fields.integer("bad", 0, 9); }).param, "bad");
  EXPECT_EQ(refusal_from([&] { fields.number("inf", 0, 9); }).param, "inf");
  EXPECT_EQ(refusal_from([&] { fields.boolean("n"); }).param, "n");
}

TEST(Fields, RefuseWhatIsNoObject) {
  for (const std::string& body : {std::string(), std::string("{"), std::string("[]"), std::string("\xff"),
                                  std::string(200'000, '['), std::string("{\"a\":\"\xff\"}")}) {
    EXPECT_EQ(refusal_from([&] { Fields::parse(body); }).code, "invalid_json");
  }
}

TEST(Base64, GoesThereAndBack) {
  std::string bytes;
  for (int i = 0; i < 300; ++i) {
    EXPECT_EQ(decode_base64(encode_base64(bytes)), bytes);
    bytes += static_cast<char>(i * 37);
  }
  const std::string large(7'000'001, 'x');  // more than one of OpenSSL's blocks
  EXPECT_EQ(decode_base64(encode_base64(large)), large);
  EXPECT_EQ(encode_base64("fo"), "Zm8=");
  EXPECT_EQ(decode_base64("Zm8"), "fo");
  EXPECT_EQ(decode_base64("Zm9v\r\nYg=="), "foob");
  for (const char* bad : {"Z", "Zm9v=", "Zm=8", "Zm8-", "====", " Zm8=", "Zm 8"}) {
    EXPECT_FALSE(decode_base64(bad)) << bad;
  }
}

TEST(PublicAddress, IsNoneOfTheClosedRanges) {
  for (const char* open : {"8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "198.20.0.1", "2606:4700::1111",
                           "::ffff:8.8.8.8", "64:ff9b::808:808"}) {
    EXPECT_TRUE(is_public_address(open)) << open;
  }
  for (const char* closed : {"127.0.0.1",
                             "127.255.1.2",
                             "0.0.0.0",
                             "10.0.0.1",
                             "172.16.0.1",
                             "172.31.255.255",
                             "192.168.1.1",
                             "169.254.169.254",
                             "100.64.0.1",
                             "198.18.0.1",
                             "198.19.255.255",
                             "192.0.2.1",
                             "203.0.113.9",
                             "224.0.0.1",
                             "255.255.255.255",
                             "::",
                             "::1",
                             "fe80::1",
                             "fc00::1",
                             "fd12::1",
                             "ff02::1",
                             "::ffff:127.0.0.1",
                             "::ffff:10.0.0.1",
                             "64:ff9b::7f00:1",
                             "2002:7f00:1::",
                             "2001:0:1::",
                             "2001:db8::1",
                             "::7f00:1",
                             "localhost",
                             "",
                             "1.2.3",
                             "8.8.8.8:80"}) {
    EXPECT_FALSE(is_public_address(closed)) << closed;
  }
}

TEST(PictureInput, RefusesWhatIsNoPicture) {
  const PictureLimits limits{.bytes = 1000};
  EXPECT_EQ(refusal_from([&] { check_picture("", "image", limits); }).code, "invalid_image");
  EXPECT_EQ(refusal_from([&] { check_picture("GIF89a", "image", limits); }).code, "invalid_image");
  EXPECT_EQ(refusal_from([&] { check_picture(std::string(1001, 'x'), "image", limits); }).status, 413);
  for (const char* url : {"", "http://a.example/x.png", "https://a.example/x.png", "ftp://a", "data:", "data:,x",
                          "data:image/png,xx", "data:image/png;base64,*"}) {
    EXPECT_EQ(refusal_from([&] { picture_from_url(url, "images[0]", limits); }).param, "images[0]") << url;
  }
}

TEST(Size, IsReadAsPeopleWriteIt) {
  const DrawingRules rules;
  EXPECT_FALSE(parse_size("auto", rules));
  for (const char* text : {"1024x768", "1024X768", "1024*768", "1024×768"}) {
    const auto size = parse_size(text, rules);
    ASSERT_TRUE(size) << text;
    EXPECT_EQ(size->width, 1024);
    EXPECT_EQ(size->height, 768);
  }
  for (const char* bad : {"", "x", "1024", "1024x", "x768", "0x5", "-1x5", "1024x768x3", "1e3x5", " 64x64", "big",
                          "99999999999999999999x1", "8192x8192", "4096x4096"}) {
    EXPECT_EQ(refusal_from([&] { parse_size(bad, rules); }).param, "size") << bad;
  }
}

TEST(Router, FindsRoutesAndSaysWhatIsAllowed) {
  Router router;
  const auto handler = [](Request&) -> Answer { return Response{}; };
  router.add({"GET", "/v1/jobs", Door::key, 0, handler});
  router.add({"GET", "/v1/jobs/{id}", Door::key, 0, handler});
  router.add({"DELETE", "/v1/jobs/{id}", Door::key, 0, handler});
  Request request;
  request.method = "DELETE";
  request.path = "/v1/jobs/7";
  EXPECT_EQ(router.find(request).method, "DELETE");
  EXPECT_EQ(request.path_parts["id"], "7");
  EXPECT_EQ(request.route, "/v1/jobs/{id}");
  request.method = "HEAD";
  EXPECT_EQ(router.find(request).method, "GET");
  request.method = "PATCH";
  EXPECT_EQ(refusal_from([&] { router.find(request); }).status, 405);
  EXPECT_EQ(router.methods("/v1/jobs/7"), "GET, HEAD, DELETE, OPTIONS");
  for (const char* path : {"/", "", "/v1", "/v1/jobs/", "/v1/jobs/7/", "/v1/jobs/7/x", "//v1/jobs"}) {
    request.path = path;
    EXPECT_EQ(refusal_from([&] { router.find(request); }).status, 404) << path;
  }
}

}  // namespace
}  // namespace glmimage::serve
