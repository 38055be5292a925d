// `glm-image pull` as its users meet it, from a hub on loopback: what it prints, what outlives kills, whom it trusts.
#include <gmock/gmock.h>
#include <signal.h>

#include <cstdlib>
#include <fstream>
#include <functional>
#include <iterator>
#include <random>
#include <thread>

#include "core/image.h"
#include "e2e/program.h"
#include "support/hub_server.h"

namespace glmimage {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using test::glm_image;
using test::HubServer;
using test::Process;
using test::ProcessOptions;
using test::ProcessResult;
using test::run_process;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using Arguments = std::vector<std::string>;

constexpr int kDone = 0, kOther = 1, kUsage = 2, kCheckpoint = 3, kCancelled = 130;

std::string read(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

class Pull : public ::testing::Test {
 protected:
  void SetUp() override {
    folder = test::scratch_folder();
    repository = test::checkpoint("tiny_a");
    target = folder / "target";
    server.serve(repository);
  }
  ProcessOptions program(Arguments arguments) const {
    ProcessOptions options = glm_image(std::move(arguments));
    options.environment["HF_ENDPOINT"] = server.url();
    options.environment["XDG_CACHE_HOME"] = (folder / "cache").string();
    for (const char* name : {"HF_TOKEN", "CURL_CA_BUNDLE", "SSL_CERT_FILE"}) options.environment[name] = "";
    return options;
  }
  ProcessOptions pull(Arguments more = {}) const {
    Arguments arguments = {"pull", HubServer::kId, target.string(), "--retries", "3", "--timeout", "5"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return program(arguments);
  }
  // A file large enough to be in the middle of.
  void serve_slowly(int64_t size, int64_t rate) {
    repository = folder / "repository";
    fs::create_directories(repository);
    std::string content(static_cast<size_t>(size), '\0');
    std::minstd_rand random(7);
    for (char& c : content) c = static_cast<char>(random() >> 16);
    std::ofstream(repository / "model.safetensors", std::ios::binary) << content;
    server.serve(repository, {{"faults", json::array({{{"path", "resolve"}, {"kind", "slow"}, {"rate", rate}}})}});
  }
  // Until something is so; false: not within ten seconds.
  static bool wait_until(const std::function<bool()>& so) {
    for (int i = 0; i < 2000 && !so(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    return so();
  }
  // Bytes of the file that is on its way; its one transfer goes from the beginning to the end.
  int64_t part_size() const {
    std::error_code missing;
    const auto size = fs::file_size(target / "model.safetensors.part", missing);
    return missing ? 0 : static_cast<int64_t>(size);
  }
  std::string note() const { return read(target / "model.safetensors.part.json"); }
  void expect_whole() const {
    EXPECT_TRUE(read(target / "model.safetensors") == read(repository / "model.safetensors"));
  }

  HubServer& server = HubServer::get();
  fs::path folder, repository, target;
};

TEST_F(Pull, ACheckpointDrawsByItsName) {
  const ProcessResult pulled = run_process(program({"pull", HubServer::kId}));
  ASSERT_EQ(pulled.exit_code, kDone) << pulled.err;
  EXPECT_THAT(pulled.out, HasSubstr("17 files"));
  const auto draw = [&](const std::string& model, const std::string& name) {
    ProcessOptions options = program(test::generate(
        model, folder / name, {"--prompt", "cat", "--steps", "1", "--seed", "5", "--width", "32", "--height", "32"}));
    options.folder = folder.string();
    return run_process(options);
  };
  const ProcessResult drawn = draw(HubServer::kId, "pulled.png");
  EXPECT_EQ(drawn.exit_code, kDone) << drawn.err;
  EXPECT_EQ(draw(repository.string(), "own.png").exit_code, kDone);
  // Their recipes name the models by their folders.
  EXPECT_EQ(load_image(folder / "pulled.png").pixels, load_image(folder / "own.png").pixels);
  EXPECT_EQ(run_process(program({"inspect", HubServer::kId})).exit_code, kDone);
}

TEST_F(Pull, AHalfPulledModelSaysSo) {
  server.serve(repository,
               {{"faults", json::array({{{"path", "resolve.*vae"}, {"kind", "status"}, {"status", 403}}})}});
  expect_failure(run_process(program({"pull", HubServer::kId})), kUsage, {"403"});
  ProcessOptions draw = program(test::generate(HubServer::kId, folder / "a.png", {"--prompt", "cat"}));
  draw.folder = folder.string();
  expect_failure(run_process(draw), kCheckpoint, {"not pulled completely", "glm-image pull zai-org/GLM-Image"});
}

TEST_F(Pull, JsonTellsTheResult) {
  const ProcessResult first = run_process(pull({"--json", "--include", "*.json"}));
  ASSERT_EQ(first.exit_code, kDone) << first.err;
  const json result = json::parse(first.out);
  EXPECT_EQ(result.at("commit"), HubServer::kCommit);
  EXPECT_EQ(result.at("path"), target.string());
  EXPECT_EQ(result.at("fetched_bytes"), result.at("bytes"));
  size_t expected = 0;
  for (const auto& entry : fs::recursive_directory_iterator(repository))
    expected += entry.path().extension() == ".json";
  EXPECT_EQ(result.at("files").size(), expected);
  const ProcessResult plan = run_process(pull({"--json", "--dry-run"}));
  const json planned = json::parse(plan.out);
  EXPECT_EQ(planned.at("missing_bytes"), planned.at("bytes").get<int64_t>() - result.at("bytes").get<int64_t>());
  EXPECT_THAT(run_process(pull({"--dry-run"})).out, HasSubstr("vae/diffusion_pytorch_model.safetensors"));
}

TEST_F(Pull, HelpHasExamples) {
  EXPECT_THAT(run_process(program({"pull", "--help"})).out, HasSubstr("Examples:\n  glm-image pull "));
}

TEST_F(Pull, FromAMirrorWithoutTheToken) {
  ProcessOptions options = program(
      {"pull", HubServer::kId, "--from", server.url(), "--include", "*.json", "--exclude", "vae/*", target.string()});
  options.environment["HF_ENDPOINT"] = "";
  options.environment["HF_TOKEN"] = "hf_secret";
  const ProcessResult result = run_process(options);
  EXPECT_EQ(result.exit_code, kDone) << result.err;
  EXPECT_TRUE(fs::exists(target / "model_index.json"));
  EXPECT_THAT(server.requests(), Not(IsEmpty()));
  for (const json& request : server.requests()) EXPECT_TRUE(request.at("authorization").is_null());
}

TEST_F(Pull, QuietIsSilent) {
  const ProcessResult result = run_process(pull({"--quiet"}));
  EXPECT_EQ(result.exit_code, kDone);
  EXPECT_EQ(result.out + result.err, "");
}

TEST_F(Pull, RefusesBadUsage) {
  expect_failure(run_process(pull({"--parallel", "0"})), kUsage, {"--parallel"});
  expect_failure(run_process(pull({"--include", "*.gguf"})), kUsage, {"--include"});
  expect_failure(run_process(program({"pull", "GLM-Image"})), kUsage, {"zai-org/GLM-Image"});
  expect_failure(run_process(program({"pull", HubServer::kId, "/proc/no/folder"})), kOther, {"/proc/no/folder"});
}

TEST_F(Pull, TokenComesFromTheEnvironmentAndIsNeverPrinted) {
  server.serve(repository, {{"token", "hf_secret"}, {"cdn", "127.0.0.2"}, {"lfs_bytes", 100000}});
  expect_failure(run_process(pull()), kUsage, {"401", "HF_TOKEN"});
  ProcessOptions options = pull({"--json"});
  options.environment["HF_TOKEN"] = "hf_wrong";
  const ProcessResult refused = run_process(options);
  EXPECT_THAT(refused.out + refused.err, HasSubstr("the token in HF_TOKEN is not valid"));
  EXPECT_THAT(refused.out + refused.err, Not(HasSubstr("hf_wrong")));
  options.environment["HF_TOKEN"] = "hf_secret";
  const ProcessResult result = run_process(options);
  EXPECT_EQ(result.exit_code, kDone) << result.err;
  EXPECT_THAT(result.out + result.err, Not(HasSubstr("hf_secret")));
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(target / ".glm-image")) {
    EXPECT_THAT(read(entry.path()), Not(HasSubstr("hf_secret")));
  }
  int elsewhere = 0;
  for (const json& request : server.requests("/cdn/")) {
    EXPECT_TRUE(request.at("authorization").is_null());
    ++elsewhere;
  }
  EXPECT_GT(elsewhere, 2);
}

TEST_F(Pull, TrustsTheCertificatesItIsTold) {
  if (server.tls_url().empty()) GTEST_SKIP() << "no openssl program to make a certificate with";
  ProcessOptions options = pull();
  options.environment["HF_ENDPOINT"] = server.tls_url();
  expect_failure(run_process(options), kOther, {"certificate", "CURL_CA_BUNDLE"});
  EXPECT_THAT(server.requests(), IsEmpty());
  for (const char* name : {"CURL_CA_BUNDLE", "SSL_CERT_FILE"}) {
    ProcessOptions trusting = options;
    trusting.environment[name] = server.certificate().string();
    const ProcessResult result = run_process(trusting);
    EXPECT_EQ(result.exit_code, kDone) << name << ": " << result.err;
    fs::remove_all(target);
  }
  options.environment["SSL_CERT_FILE"] = "/no/such.pem";
  expect_failure(run_process(options), kUsage, {"SSL_CERT_FILE", "/no/such.pem"});
}

TEST_F(Pull, GoesThroughTheProxy) {
  ProcessOptions options = pull();
  options.environment["HF_ENDPOINT"] = "http://hub.invalid";
  options.environment["http_proxy"] = server.url();
  options.environment["HF_TOKEN"] = "hf_secret";
  const ProcessResult result = run_process(options);
  EXPECT_EQ(result.exit_code, kDone) << result.err;
  EXPECT_THAT(result.err, HasSubstr("HF_TOKEN is not sent"));
  EXPECT_THAT(server.requests("http://hub.invalid/"), Not(IsEmpty()));
  for (const json& request : server.requests()) EXPECT_TRUE(request.at("authorization").is_null());
  options.environment["no_proxy"] = "hub.invalid";
  fs::remove_all(target);
  expect_failure(run_process(options), kOther, {"hub.invalid"});
}

TEST_F(Pull, CtrlCKeepsWhatCame) {
  serve_slowly(4000000, 1000000);
  Process process(pull());
  ASSERT_TRUE(wait_until([&] { return part_size() >= 700000; }));
  process.send(SIGINT);
  const ProcessResult result = process.wait();
  expect_failure(result, kCancelled, {"cancelled", "the same command goes on"});
  server.serve(repository);
  const ProcessResult again = run_process(pull({"--json"}));
  const json file = json::parse(again.out).at("files").at(0);
  EXPECT_GE(file.at("resumed_bytes"), 700000);
  EXPECT_EQ(server.sent("resolve"), 4000000 - file.at("resumed_bytes").get<int64_t>());
  expect_whole();
}

// Killed at random moments, started again, until all of it is there: what was noted down is not sent again, and there
// is nothing under the file's name before the end.
TEST_F(Pull, SurvivesKills) {
  const int kills = std::getenv("GLM_IMAGE_SOAK") ? 40 : 4;
  const int64_t size = int64_t{4000000} * kills;
  serve_slowly(size, 2000000);
  std::mt19937 random(3);
  int64_t before = 0;
  for (int i = 0; i < kills; ++i) {
    const std::string old_note = note();
    Process process(pull());
    ASSERT_TRUE(wait_until([&] { return note() != old_note; })) << i;
    std::this_thread::sleep_for(std::chrono::milliseconds(random() % 500));
    process.send(SIGKILL);
    ASSERT_EQ(process.wait().signal, SIGKILL) << i << ": in the middle";
    EXPECT_FALSE(fs::exists(target / "model.safetensors")) << i;
    const json plan = json::parse(run_process(pull({"--json", "--dry-run"})).out);
    const auto there = plan.at("bytes").get<int64_t>() - plan.at("missing_bytes").get<int64_t>();
    EXPECT_GT(there, before) << "what was noted is not lost";
    before = there;
  }
  server.serve(repository);
  const ProcessResult last = run_process(pull({"--json"}));
  ASSERT_EQ(last.exit_code, kDone) << last.err;
  EXPECT_EQ(json::parse(last.out).at("fetched_bytes"), size - before);
  EXPECT_EQ(server.sent("resolve"), size - before) << "as the server counts";
  expect_whole();
}

TEST_F(Pull, TwoAtOnceDoNotDisturbEachOther) {
  serve_slowly(2000000, 1000000);
  Process first(pull());
  ASSERT_TRUE(wait_until([&] { return part_size() > 0; }));
  expect_failure(run_process(pull()), kOther, {"another pull", "process "});
  EXPECT_EQ(first.wait().exit_code, kDone);
  expect_whole();
}

TEST_F(Pull, FullDisk) {
  ProcessOptions options = pull();
  options.file_size_limit = 150000;
  expect_failure(run_process(options), kOther, {".part: writing failed", "file size limit", "goes on from there"});
  const ProcessResult again = run_process(pull());
  EXPECT_EQ(again.exit_code, kDone) << again.err;
  for (const auto& entry : fs::recursive_directory_iterator(repository)) {
    if (!entry.is_regular_file()) continue;
    EXPECT_TRUE(read(entry.path()) == read(target / fs::relative(entry.path(), repository))) << entry.path();
  }
}

}  // namespace
}  // namespace glmimage
