#include <gmock/gmock.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/libcurl.h"
#include "core/sha256.h"
#include "serve/blob_store.h"
#include "serve/store_fixture.h"
#include "support/process.h"

namespace glmimage::serve::test {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using namespace std::chrono_literals;

constexpr const char* kRegion = "eu-central-1";
constexpr const char* kAccess = "AKIDEXAMPLE";
constexpr const char* kSecret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

// One service for all tests here, which checks signatures with botocore (tests/tools/s3_server.py).
class S3BlobsTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    const auto source = std::filesystem::path(GLM_IMAGE_SOURCE_DIR);
    const auto python = source / ".deps/venv-dev/bin/python";
    if (!std::filesystem::exists(python)) return;
    server_ = std::make_unique<glmimage::test::Process>(glmimage::test::ProcessOptions{
        .arguments = {python.string(), (source / "tests/tools/s3_server.py").string(), kRegion, kAccess, kSecret},
        .environment = {},
        .input = {},
        .folder = {},
        .limit = std::chrono::hours(1)});
    ASSERT_TRUE(server_->wait_for_error_text("\n")) << server_->wait().err;
    endpoint_ = "http://127.0.0.1:" + server_->error_text().substr(5);
    endpoint_.pop_back();
  }
  static void TearDownTestSuite() { server_.reset(); }
  void SetUp() override {
    if (!server_) GTEST_SKIP() << "botocore is not installed (scripts/bootstrap --dev)";
    faults(json::array());
  }

  static S3Options options() {
    S3Options out;
    out.endpoint = endpoint_;
    out.bucket = "pictures";
    out.prefix = "glm-image/";
    out.region = kRegion;
    out.access_key = kAccess;
    out.secret_key = kSecret;
    out.timeout = 2s;
    out.retries = 2;
    out.pause = 5ms;
    return out;
  }

  // To the service itself, past the store.
  static std::string ask(const std::string& path, const std::string& body = {}) {
    const std::unique_ptr<CURL, void (*)(CURL*)> curl(libcurl().easy_init(), libcurl().easy_cleanup);
    std::string answer;
    set_option(curl.get(), CURLOPT_URL, (endpoint_ + path).c_str());
    if (!body.empty()) set_option(curl.get(), CURLOPT_COPYPOSTFIELDS, body.c_str());
    set_option(
        curl.get(), CURLOPT_WRITEFUNCTION, +[](char* data, size_t one, size_t count, void* user) {
          static_cast<std::string*>(user)->append(data, one * count);
          return one * count;
        });
    set_option(curl.get(), CURLOPT_WRITEDATA, &answer);
    EXPECT_EQ(libcurl().easy_perform(curl.get()), CURLE_OK);
    return answer;
  }
  static void faults(const json& list) { ask("/faults", list.dump()); }
  static std::vector<std::string> log() { return json::parse(ask("/log")).get<std::vector<std::string>>(); }

  static inline std::unique_ptr<glmimage::test::Process> server_;
  static inline std::string endpoint_;
};

std::string message_of(const std::function<void()>& act) {
  try {
    act();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::io);
    return error.what();
  }
  return "no error";
}

TEST_F(S3BlobsTest, ObjectsComeBackAsTheyWere) {
  const auto blobs = open_s3_blobs(options());
  std::string bytes(3'000'000, '\0');
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 7);
  const std::string hash = sha256_hex(bytes);
  EXPECT_FALSE(blobs->contains(hash, 3'000'000));
  EXPECT_FALSE(blobs->get(hash));
  blobs->put(hash, bytes);
  EXPECT_TRUE(blobs->contains(hash, 3'000'000));
  EXPECT_FALSE(blobs->contains(hash, 2'999'999));
  EXPECT_EQ(blobs->get(hash), bytes);
  EXPECT_EQ(log().back(), "GET /pictures/glm-image/" + hash);
  blobs->remove(hash);
  EXPECT_FALSE(blobs->get(hash));
  blobs->remove(hash);
  blobs->put(sha256_hex(""), "");
  EXPECT_EQ(blobs->get(sha256_hex("")), "");
}

TEST_F(S3BlobsTest, AWrongKeyIsAnErrorThatDoesNotTellIt) {
  S3Options wrong = options();
  wrong.secret_key = "not the secret";
  const std::string message = message_of([&] { open_s3_blobs(wrong)->put(sha256_hex("x"), "x"); });
  EXPECT_THAT(message, HasSubstr("403"));
  EXPECT_THAT(message, HasSubstr("access key"));
  EXPECT_THAT(message, Not(HasSubstr("not the secret")));
}

TEST_F(S3BlobsTest, ASessionTokenIsSigned) {
  S3Options with_token = options();
  with_token.session_token = "token/with+signs==";
  const auto blobs = open_s3_blobs(with_token);
  blobs->put(sha256_hex("x"), "x");
  EXPECT_EQ(blobs->get(sha256_hex("x")), "x");
}

TEST_F(S3BlobsTest, WhatPassesIsTriedAgain) {
  const auto blobs = open_s3_blobs(options());
  const std::string hash = sha256_hex("picture");
  faults({503, "drop"});
  blobs->put(hash, "picture");
  faults({"cut", 429});
  EXPECT_EQ(blobs->get(hash), "picture");
  faults({500, 500, 500});
  EXPECT_THAT(message_of([&] { blobs->get(hash); }), HasSubstr("answered 500"));
  faults(json(std::vector<std::string>(20, "drop")));  // libcurl tries again by itself where it had kept a connection
  EXPECT_THAT(message_of([&] { blobs->put(hash, "picture"); }), HasSubstr("cannot be reached"));
}

TEST_F(S3BlobsTest, NobodyThereIsAnError) {
  S3Options nobody = options();
  nobody.endpoint = "http://127.0.0.1:1";
  nobody.retries = 0;
  EXPECT_THAT(message_of([&] { open_s3_blobs(nobody)->get(sha256_hex("x")); }), HasSubstr("cannot be reached"));
}

TEST_F(S3BlobsTest, TheStoreWritesOnceAndVerifies) {
  const auto folder = glmimage::test::scratch_folder();
  const auto database = Database::open((folder / "queue.sqlite").string());
  const auto backend = open_s3_blobs(options());
  BlobStore blobs(*database, *backend);
  const size_t before = log().size();
  const std::string hash = blobs.put("once");
  blobs.put("once");
  const std::string path = " /pictures/glm-image/" + hash;
  std::vector<std::string> asked = log();
  asked.erase(asked.begin(), asked.begin() + static_cast<std::ptrdiff_t>(before));
  EXPECT_THAT(asked, ElementsAre("HEAD" + path, "PUT" + path, "HEAD" + path));
  faults({"wrong"});
  EXPECT_THAT(message_of([&] { blobs.get(hash); }), HasSubstr("other bytes"));
  EXPECT_EQ(blobs.get(hash), "once");
  EXPECT_EQ(blobs.collect_garbage(-1s), 1);
  EXPECT_FALSE(blobs.get(hash));
}

TEST(S3OptionsTest, ComeFromTheEnvironment) {
  const auto set = [](const char* name, const char* value) { ::setenv(name, value, 1); };
  ::unsetenv("GLM_IMAGE_S3_ENDPOINT");
  EXPECT_THROW(S3Options::from_environment("s3://pictures"), Error);
  set("GLM_IMAGE_S3_ENDPOINT", "https://s3.example:9000");
  set("AWS_ACCESS_KEY_ID", "id");
  set("AWS_SECRET_ACCESS_KEY", "secret");
  set("AWS_REGION", "eu-west-1");
  const S3Options out = S3Options::from_environment("s3://pictures/a/b");
  EXPECT_EQ(out.bucket, "pictures");
  EXPECT_EQ(out.prefix, "a/b/");
  EXPECT_EQ(out.endpoint, "https://s3.example:9000");
  EXPECT_EQ(out.region, "eu-west-1");
  EXPECT_TRUE(S3Options::from_environment("s3://pictures").prefix.empty());
  for (const char* bad : {"s3://", "s3:///x", "s3://pic tures", "s3://p?x=1"}) {
    EXPECT_THROW(S3Options::from_environment(bad), Error) << bad;
  }
  set("GLM_IMAGE_S3_ENDPOINT", "file:///etc");
  EXPECT_THROW(S3Options::from_environment("s3://pictures"), Error);
  for (const char* name : {"GLM_IMAGE_S3_ENDPOINT", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"}) {
    ::unsetenv(name);
  }
}

}  // namespace
}  // namespace glmimage::serve::test
