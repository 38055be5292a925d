// Pictures named by their URL, from a TLS server on loopback, which has to be allowed by name as any private address.
#include "serve/fetch_picture.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <fstream>

#include "core/encode_image.h"
#include "serve/picture_input.h"
#include "serve/refusal.h"
#include "support/error_of.h"
#include "support/hub_server.h"

namespace glmimage::serve {
namespace {

namespace fs = std::filesystem;
using glmimage::test::HubServer;
using nlohmann::json;
using std::chrono::milliseconds;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

std::string png(int64_t side) {
  const Image image{side, side, std::vector<uint8_t>(static_cast<size_t>(3 * side * side), 77)};
  const std::vector<uint8_t> bytes = encode_image(image);
  return {bytes.begin(), bytes.end()};
}

class FetchPicture : public ::testing::Test {
 protected:
  void SetUp() override {
    if (hub_.tls_url().empty()) GTEST_SKIP() << "no openssl program to make a certificate";
    fs::create_directories(folder_);
    std::ofstream(folder_ / "picture.png", std::ios::binary) << png(40);
    std::ofstream(folder_ / "page.html") << "<html>no picture</html>";
    hub_.serve(folder_);
    sources_.named = {fetch_host(hub_.tls_url().substr(8))};
    sources_.trust.file = hub_.certificate().string();
  }

  void misbehave(const json& fault) { hub_.serve(folder_, {{"faults", json::array({fault})}}); }
  void redirect(const std::string& to) {
    misbehave({{"path", "picture"}, {"kind", "status"}, {"status", 302}, {"headers", {{"Location", to}}}});
  }
  std::string url(const std::string& name = "picture.png") const { return hub_.tls_url() + "/plain/" + name; }

  std::string refusal(const std::string& url, const FetchLimits& limits = {}) const {
    try {
      fetch_picture(url, sources_, limits);
    } catch (const Refusal& refusal) {
      EXPECT_EQ(refusal.status, 400);
      EXPECT_EQ(refusal.code, "invalid_image_url");
      return refusal.what();
    }
    ADD_FAILURE() << url << " was fetched";
    return "";
  }

  HubServer& hub_ = HubServer::get();
  fs::path folder_ = fs::path(GLM_IMAGE_BINARY_DIR) / "test_scratch/fetch_picture";
  FetchSources sources_;
};

TEST_F(FetchPicture, ComesWholeFromANamedHost) {
  EXPECT_EQ(fetch_picture(url(), sources_), png(40));
  EXPECT_EQ(hub_.requests("picture.png").size(), 1U);
  const InputPicture picture = picture_from_url(url(), "image", {.fetch = sources_});
  EXPECT_EQ(picture.size, (PictureSize{40, 40}));
}

TEST_F(FetchPicture, OtherHostsAndPortsAreNotAllowedWithIt) {
  const std::string port = hub_.tls_url().substr(hub_.tls_url().rfind(':'));
  EXPECT_THAT(refusal("https://localhost" + port + "/plain/picture.png"),
              HasSubstr("fetches no pictures from its host"));
  EXPECT_THAT(refusal("https://127.0.0.1:1/plain/picture.png"), HasSubstr("fetches no pictures from its host"));
  sources_.public_hosts = true;
  EXPECT_THAT(refusal("https://localhost" + port + "/plain/picture.png"), HasSubstr("not on the public internet"));
  EXPECT_THAT(refusal("https://127.0.0.1:1/plain/picture.png"), HasSubstr("not on the public internet"));
  sources_.named.clear();
  EXPECT_THAT(refusal(url()), HasSubstr("not on the public internet"));
  EXPECT_TRUE(hub_.requests("picture.png").empty());
}

TEST_F(FetchPicture, CertificatesAreChecked) {
  sources_.trust = {};
  EXPECT_THAT(refusal(url()), HasSubstr("SSL"));
  EXPECT_TRUE(hub_.requests("picture.png").empty());
}

TEST_F(FetchPicture, RedirectsAreFollowedAndChecked) {
  redirect("/moved/plain/other.png");
  std::ofstream(folder_ / "other.png", std::ios::binary) << png(8);
  EXPECT_EQ(fetch_picture(url(), sources_), png(8));
  redirect(hub_.url() + "/plain/other.png");
  EXPECT_THAT(refusal(url()), HasSubstr("only https://"));
  redirect("file:///etc/passwd");
  EXPECT_THAT(refusal(url()), HasSubstr("only https://"));
  for (const char* inside : {"https://10.0.0.1/", "https://[::1]/x", "https://169.254.169.254/latest/meta-data"}) {
    redirect(inside);
    EXPECT_THAT(refusal(url()), HasSubstr("fetches no pictures from its host"));
    sources_.public_hosts = true;
    EXPECT_THAT(refusal(url()), HasSubstr("not on the public internet"));
    sources_.public_hosts = false;
  }
  redirect("https://user:secret@127.0.0.1/");
  EXPECT_THAT(refusal(url()), HasSubstr("user name"));
}

TEST_F(FetchPicture, RedirectsAreCounted) {
  redirect(url());  // to itself
  EXPECT_THAT(refusal(url(), {.redirects = 3}), HasSubstr("more than 3 redirects"));
  EXPECT_EQ(hub_.requests("picture.png").size(), 4U);
}

TEST_F(FetchPicture, LongFilesAreLeft) {
  const uint64_t bytes = png(40).size();
  EXPECT_EQ(fetch_picture(url(), sources_, {.bytes = bytes}).size(), bytes);
  EXPECT_THAT(refusal(url(), {.bytes = bytes - 1}), HasSubstr(concat("more than ", bytes - 1, " bytes")));
  misbehave({{"path", "picture"}, {"kind", "no_length"}});  // it cannot be told beforehand
  EXPECT_THAT(refusal(url(), {.bytes = bytes - 1}), HasSubstr(concat("more than ", bytes - 1, " bytes")));
}

TEST_F(FetchPicture, SlowAndBrokenAnswersEnd) {
  misbehave({{"path", "picture"}, {"kind", "stall"}, {"after", 20}});
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_THAT(refusal(url(), {.time = milliseconds(300)}), HasSubstr("nothing came"));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
  hub_.release();
  misbehave({{"path", "picture"}, {"kind", "short"}, {"after", 20}});
  EXPECT_THAT(refusal(url()), HasSubstr("nothing came"));
  misbehave({{"path", "picture"}, {"kind", "status"}, {"status", 404}});
  EXPECT_THAT(refusal(url()), AllOf(HasSubstr("status 404"), Not(HasSubstr("127.0.0.1"))));
}

TEST_F(FetchPicture, WhatIsNoPictureIsRefused) {
  try {
    picture_from_url(url("page.html"), "image", {.fetch = sources_});
    FAIL() << "a page was taken";
  } catch (const Refusal& refusal) {
    EXPECT_EQ(refusal.status, 400);
    EXPECT_EQ(refusal.code, "invalid_image");
  }
}

TEST(FetchHost, IsAHostWithAPort) {
  EXPECT_EQ(fetch_host("Pictures.example"), "pictures.example:443");
  EXPECT_EQ(fetch_host("pictures.example:8443"), "pictures.example:8443");
  EXPECT_EQ(fetch_host("10.0.0.7:80"), "10.0.0.7:80");
  EXPECT_EQ(fetch_host("[FD00::7]"), "fd00::7:443");
  EXPECT_EQ(fetch_host("[fd00::7]:8443"), "fd00::7:8443");
  for (const char* wrong : {"", ":443", "host:", "host:x", "https://host", "host/path", "a b", "[fd00::7",
                            "host:123456", "fd00::7", "*.example"}) {
    EXPECT_THAT(test::error_of(ErrorKind::usage, [&] { fetch_host(wrong); }), HasSubstr("HOST:PORT")) << wrong;
  }
}

}  // namespace
}  // namespace glmimage::serve
