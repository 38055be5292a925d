// Which place is asked, and with which token: names, addresses and the environment.
#include "hub/source.h"

#include <gmock/gmock.h>

#include <cstdlib>
#include <fstream>

#include "hub/file_names.h"
#include "hub/pulled.h"
#include "support/goldens.h"

namespace glmimage::hub {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

SourceRequest ask(const std::string& model, const std::string& from = "huggingface", const std::string& revision = "") {
  return {.model = model, .from = from, .revision = revision};
}

// The variables as a test wants them, and back again.
class Environment : public ::testing::Test {
 protected:
  static constexpr const char* kNames[] = {"HF_TOKEN", "HF_ENDPOINT", "MODELSCOPE_API_TOKEN", "MODELSCOPE_ENDPOINT",
                                           "XDG_CACHE_HOME"};
  void SetUp() override {
    for (const char* name : kNames) {
      const char* value = std::getenv(name);
      if (value) before_[name] = value;
      ::unsetenv(name);
    }
  }
  void TearDown() override {
    for (const char* name : kNames) {
      ::unsetenv(name);
      if (before_.count(name)) ::setenv(name, before_[name].c_str(), 1);
    }
  }
  static void expect_refused(const SourceRequest& request, const std::string& fragment) {
    try {
      find_source(request);
      ADD_FAILURE() << request.model << " is taken";
    } catch (const Error& error) {
      EXPECT_EQ(static_cast<int>(error.kind()), static_cast<int>(ErrorKind::usage));
      EXPECT_THAT(error.what(), HasSubstr(fragment));
    }
  }

 private:
  std::map<std::string, std::string> before_;
};

class FindSource : public Environment {};

TEST_F(FindSource, OfTheTwoHubs) {
  ::setenv("HF_TOKEN", "hf_secret\n", 1);
  ::setenv("MODELSCOPE_API_TOKEN", "ms", 1);
  const Source face = find_source(ask("zai-org/GLM-Image"));
  EXPECT_EQ(face.endpoint, "https://huggingface.co");
  EXPECT_EQ(face.revision, "main");
  EXPECT_EQ(face.token, "hf_secret");
  const Source scope = find_source(ask("ZhipuAI/GLM-Image", "modelscope"));
  EXPECT_EQ(scope.endpoint, "https://modelscope.cn");
  EXPECT_EQ(scope.revision, "master");
  EXPECT_EQ(scope.token, "ms");
}

TEST_F(FindSource, OfPagesCopiedFromTheBrowser) {
  EXPECT_EQ(find_source(ask("https://huggingface.co/zai-org/GLM-Image")).id, "zai-org/GLM-Image");
  EXPECT_EQ(find_source(ask("https://huggingface.co/zai-org/GLM-Image/tree/v1")).revision, "v1");
  const Source scope = find_source(ask("https://www.modelscope.cn/models/ZhipuAI/GLM-Image/"));
  EXPECT_EQ(scope.id, "ZhipuAI/GLM-Image");
  EXPECT_EQ(scope.endpoint, "https://modelscope.cn");
  const Source file = find_source(ask("https://huggingface.co/zai-org/GLM-Image/resolve/main/README.md"));
  EXPECT_EQ(static_cast<int>(file.kind), static_cast<int>(HubKind::url));
}

TEST_F(FindSource, SendsTokensOnlyWhereTheyBelong) {
  ::setenv("HF_TOKEN", "secret", 1);
  EXPECT_EQ(find_source(ask("a/b", "https://mirror.example")).token, "") << "named on the command line";
  EXPECT_EQ(find_source(ask("https://host.example/file")).token, "");
  ::setenv("HF_ENDPOINT", "https://mirror.example/", 1);
  EXPECT_EQ(find_source(ask("a/b")).token, "secret");
  EXPECT_EQ(find_source(ask("a/b")).endpoint, "https://mirror.example");
  EXPECT_EQ(find_source(ask("a/b", "https://mirror.example")).token, "secret");
  ::setenv("HF_ENDPOINT", "http://mirror.example", 1);
  const Source plain = find_source(ask("a/b"));
  EXPECT_EQ(plain.token, "");
  EXPECT_THAT(plain.warning, HasSubstr("not encrypted"));
  for (const char* here : {"http://127.0.0.1:9", "http://localhost:9", "http://[::1]:9"}) {
    ::setenv("HF_ENDPOINT", here, 1);
    EXPECT_EQ(find_source(ask("a/b")).token, "secret") << here;
  }
}

TEST_F(FindSource, RefusesWhatCannotBe) {
  for (const std::string id : {"", "GLM-Image", "a/b/c", "../b", "a/..", "a/", "/b", "a b/c", "a/b?c", "a/-b"}) {
    expect_refused(ask(id), "no model's name");
  }
  expect_refused(ask("a/b", "ftp://host"), "https://");
  expect_refused(ask("a/b", "mirror"), "https://");
  expect_refused(ask("a/b", "huggingface", "x y"), "--revision");
  expect_refused(ask("https://host.example/file", "huggingface", "main"), "--revision");
  expect_refused(ask("https://"), "https://");
  ::setenv("HF_TOKEN", "a\r\nX-Evil: 1", 1);
  expect_refused(ask("a/b"), "HF_TOKEN");
}

class FindModel : public Environment {};

TEST_F(FindModel, ByItsNameOncePulled) {
  const fs::path cache = glmimage::test::scratch_folder();
  ::setenv("XDG_CACHE_HOME", cache.c_str(), 1);
  const fs::path folder = default_folder("a/b");
  EXPECT_EQ(folder, cache / "glm-image/models/a/b");
  EXPECT_EQ(find_model("a/b"), "a/b") << "not pulled";
  EXPECT_EQ(find_model("/no/such"), "/no/such");
  Pulled pulled = Pulled::open(folder);
  pulled.write();
  EXPECT_THROW(find_model("a/b"), Error);
  pulled.complete = true;
  pulled.write();
  EXPECT_EQ(find_model("a/b"), folder.string());
}

TEST(FileNames, OrdinaryOnesAreTaken) {
  check_file_names({"model_index.json", ".gitattributes", "a/b/c.safetensors", "übung/图.png", "a b", "..a", "a..b/c"});
  EXPECT_THROW(check_file_name(std::string("a\0b", 3)), Error);
  EXPECT_THROW(check_file_name("\xff\xfe"), Error);
  EXPECT_THROW(check_file_name(std::string(241, 'a')), Error);
  EXPECT_THROW(check_file_names({"a/b", "a"}), Error);
}

TEST(FileNames, Patterns) {
  EXPECT_TRUE(matches("vae/config.json", {"*.json"}));
  EXPECT_TRUE(matches("vae/config.json", {"x", "vae/"}));
  EXPECT_TRUE(matches("vae/config.json", {"vae/*"}));
  EXPECT_FALSE(matches("vae2/config.json", {"vae/*", "config.json"}));
  EXPECT_FALSE(matches("a", {}));
}

}  // namespace
}  // namespace glmimage::hub
