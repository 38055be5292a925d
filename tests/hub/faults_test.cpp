// Servers, networks and disks that misbehave: a pull recovers, or fails with a sentence that says why, and there is
// never half a file under its own name.
#include <signal.h>
#include <sys/resource.h>

#include <cstdlib>
#include <random>

#include "hub/pull_helpers.h"

namespace glmimage::hub::test {
namespace {

using std::chrono::milliseconds;
using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class Faults : public PullTest {};

TEST_F(Faults, DroppedConnections) {
  expect_recovers(big_fault({{"kind", "drop"}, {"after", 40000}, {"times", 3}}));
  EXPECT_THAT(watcher.notes, HasSubstr("model.safetensors"));
}

TEST_F(Faults, ConnectionsThatAlwaysDropStillMoveOn) {
  // 100000 bytes a connection is progress: it never gives up, and nothing is fetched twice.
  expect_recovers(big_fault({{"kind", "drop"}, {"after", 100000}}));
  EXPECT_LE(sent(), kBig + 8 * 16384);
}

TEST_F(Faults, ConnectionsThatBringNothing) {
  serve(big_fault({{"kind", "drop"}, {"after", 0}}));
  expect_failure(ErrorKind::io, {"model.safetensors", "the same command goes on"});
}

TEST_F(Faults, NobodyThere) {
  options.source.endpoint = "http://127.0.0.1:1";
  expect_failure(ErrorKind::io, {"127.0.0.1", "connect"});
}

TEST_F(Faults, AnswersThatEndEarly) { expect_recovers(big_fault({{"kind", "short"}, {"after", 50000}, {"times", 2}})); }

TEST_F(Faults, LengthsThatAreLies) {
  for (const int by : {-1000, 1000}) {
    serve(big_fault({{"kind", "length"}, {"by", by}}));
    expect_failure(ErrorKind::io, {"model.safetensors", "the server promises"});
  }
  serve(big_fault({{"kind", "long"}}));
  expect_failure(ErrorKind::io, {"the server sends more than"});
  serve({{"listed_sizes", {{"big/model.safetensors", kBig + 5}}}});
  expect_failure(ErrorKind::io, {"bytes 0-149999/1000005 were asked for"});
}

TEST_F(Faults, RangesThatAreLies) {
  serve(big_fault({{"kind", "wrong_range"}}));
  expect_failure(ErrorKind::io, {"were asked for, and the server sends something else"});
}

TEST_F(Faults, ServersThatIgnoreRanges) {
  serve(big_fault({{"kind", "ignore_range"}}));
  const PullReport report = pull();
  expect_whole();
  EXPECT_EQ(report.files.at(1).fetched, kBig);
  EXPECT_EQ(HubServer::get().requests("model.safetensors").size(), 1u);
}

// In the middle of a file of which parts are there.
TEST_F(Faults, ServersThatBeginToIgnoreRanges) { expect_recovers(big_fault({{"kind", "ignore_range"}, {"skip", 3}})); }

TEST_F(Faults, RangesThatAreNotThere) {
  expect_recovers(big_fault({{"kind", "status"}, {"status", 416}, {"skip", 1}, {"times", 1}}));
  serve(big_fault({{"kind", "status"}, {"status", 416}}));
  fs::remove_all(target);
  expect_failure(ErrorKind::io, {"416"});
}

TEST_F(Faults, WrongBytes) {
  serve(big_fault({{"kind", "wrong"}}));
  expect_failure(ErrorKind::io, {"digest", "twice", "model.safetensors"});
  EXPECT_FALSE(fs::exists(target / "big/model.safetensors"));
  EXPECT_EQ(sent(), 2 * kBig);
}

TEST_F(Faults, WrongBytesOnce) {
  // The last range of the first turn: with two ranges that hold the end, one by one.
  options.fetch.parallel = 1;
  json script = big_fault({{"kind", "wrong"}, {"range", "bytes=900000"}, {"times", 1}});
  expect_recovers(script);
  EXPECT_THAT(watcher.notes, HasSubstr("it is fetched once more"));
}

TEST_F(Faults, WrongBytesInSmallFiles) {
  serve({{"faults", json::array({{{"path", "resolve.*model_index.json"}, {"kind", "wrong"}}})}});
  expect_failure(ErrorKind::io, {"model_index.json", "digest"});
}

TEST_F(Faults, EncodedContent) {
  serve(big_fault({{"kind", "gzip"}}));
  expect_failure(ErrorKind::io, {"encoded"});
}

TEST_F(Faults, FloodsOfHeaders) {
  serve(big_fault({{"kind", "headers"}}));
  expect_failure(ErrorKind::io, {"64 KiB of headers"});
}

TEST_F(Faults, AnswersThatDoNotFitIntoMemory) {
  serve();
  HttpClient client(options.http);
  const TextRequest request{.url = HubServer::get().url() + "/plain/big/model.safetensors",
                            .headers = {},
                            .asked = {.what = "the list", .token_variable = {}},
                            .most_bytes = 1000};
  EXPECT_THROW(get_text(client, request, options.fetch.retries, {}), Error);
}

TEST_F(Faults, ServersThatStall) {
  const json stall = {{"kind", "stall"}, {"after", 100}, {"seconds", 8}, {"times", 1}};
  expect_recovers(big_fault(stall));
  EXPECT_THAT(watcher.notes, HasSubstr("too slow"));
  HubServer::get().release();
}

TEST_F(Faults, TooManyRequests) {
  serve(big_fault({{"kind", "status"}, {"status", 429}, {"headers", {{"Retry-After", "1"}}}, {"times", 1}}));
  const PullReport report = pull();
  expect_whole();
  EXPECT_GE(report.seconds, 1.0) << "Retry-After is heeded";
  fs::remove_all(target);
  serve({{"faults",
          json::array(
              {{{"path", "/tree/"}, {"kind", "status"}, {"status", 429}, {"headers", {{"Retry-After", "86400"}}}}})}});
  expect_failure(ErrorKind::io, {"429", "in 86400 seconds"});
  EXPECT_EQ(HubServer::get().requests("/tree/").size(), 1u);
}

TEST_F(Faults, FaultsOfTheServer) {
  for (const int status : {500, 502, 503, 504}) {
    expect_recovers(
        {{"faults",
          json::array({{{"path", "/(api|resolve)"}, {"kind", "status"}, {"status", status}, {"times", 2}}})}});
    fs::remove_all(target);
  }
  serve({{"faults", json::array({{{"path", "/revision/"}, {"kind", "status"}, {"status", 503}}})}});
  expect_failure(ErrorKind::io, {"503", "try again later"});
  EXPECT_EQ(HubServer::get().requests("/revision/").size(), 4u) << "as many as there are tries";
}

TEST_F(Faults, RefusedAccess) {
  options.source.token_variable = "HF_TOKEN";
  serve({{"token", "right"}});
  expect_failure(ErrorKind::usage, {"401", "a token in HF_TOKEN", "Invalid username or password"});
  options.source.token = "wrong";
  serve({{"token", "right"}});
  expect_failure(ErrorKind::usage, {"401", "the token in HF_TOKEN is not valid"});
  EXPECT_THAT(failed_pull().what(), Not(HasSubstr("wrong")));
  serve({{"faults", json::array({{{"path", "resolve"}, {"kind", "status"}, {"status", 403}}})}});
  expect_failure(ErrorKind::usage, {"403", "accept them on its page"});
}

TEST_F(Faults, WhatIsNotThere) {
  serve();
  options.source.revision = "v2";
  expect_failure(ErrorKind::usage, {"404", "no such revision", "zai-org/GLM-Image at v2"});
  options.source.revision = "main";
  options.source.id = "zai-org/No-Image";
  expect_failure(ErrorKind::usage, {"404", "no such repository"});
  EXPECT_EQ(HubServer::get().requests().size(), 2u) << "not tried again";
}

TEST_F(Faults, AnotherFileBehindTheRedirect) {
  serve({{"told_sha256", std::string(64, 'a')}});
  expect_failure(ErrorKind::io, {"SHA-256 aaaa", "did it change on the server?"});
  serve({{"told_commit", std::string(40, 'b')}});
  expect_failure(ErrorKind::io, {"another commit"});
}

TEST_F(Faults, ListsThatAreNone) {
  for (const std::string& list :
       {std::string("<html>"), std::string("{}"), std::string("[{\"type\": \"file\"}]"),
        std::string("[{\"type\":\"file\",\"path\":\"a\",\"size\":-1,\"oid\":\"x\"}]"), std::string(100000, '[')}) {
    serve({{"raw_list", list}});
    expect_failure(ErrorKind::io, {"the list of files cannot be read"});
  }
  EXPECT_FALSE(fs::exists(target));
}

// Any byte of a list may be another: it is understood all the same, or refused with a sentence.
TEST_F(Faults, ListsWithRandomFaults) {
  const json entry = {{"type", "file"},
                      {"path", "a.txt"},
                      {"oid", std::string(40, '0')},
                      {"size", 1},
                      {"lfs", {{"oid", std::string(64, '0')}, {"size", 1}}}};
  json other = entry;
  other["path"] = "b.txt";
  const std::string list = json::array({entry, other}).dump();
  const std::string letters = R"("[]{},:0-9eaZ/\)";
  std::minstd_rand random(5);
  options.dry_run = true;
  int refused = 0, taken = 0;
  for (int i = 0; i < (std::getenv("GLM_IMAGE_SOAK") ? 5000 : 60); ++i) {
    std::string broken = list;
    for (int change = 0; change < 1 + i % 4; ++change) {
      broken[random() % broken.size()] = letters[random() % letters.size()];
    }
    serve({{"raw_list", broken}});
    try {
      pull();
      ++taken;
    } catch (const Error& error) {
      EXPECT_NE(static_cast<int>(error.kind()), static_cast<int>(ErrorKind::internal)) << broken;
      ++refused;
    }
  }
  EXPECT_GT(refused, 0);
  EXPECT_GT(taken, 0);
}

TEST_F(Faults, AbsurdSizes) {
  serve({{"listed_sizes", {{"big/model.safetensors", int64_t{1} << 50}}}});
  expect_failure(ErrorKind::io, {"bytes are to be fetched, and the disk has room for"});
  serve({{"listed_sizes", {{"big/model.safetensors", INT64_MAX}, {"model_index.json", INT64_MAX}}}});
  expect_failure(ErrorKind::io, {"absurd"});
  EXPECT_THAT(files_below(target), IsEmpty());
}

TEST_F(Faults, HostileNames) {
  for (const std::string name :
       {"../escaped", "/etc/escaped", "a/../../escaped", "a//b", "a/./b", "", ".glm-image/pulled.json", "a\\b", "a\nb",
        "x.part", "x.part.json/y", "model_index.json/below", "big/empty.txt"}) {
    serve({{"extra_names", {name}}});
    expect_failure(ErrorKind::io, {"the server lists a file named"});
    EXPECT_FALSE(fs::exists(target)) << name;
    EXPECT_FALSE(fs::exists(scratch / "escaped"));
  }
}

TEST_F(Faults, ListPagesOnAnotherServer) {
  options.source.token = "secret";
  serve({{"token", "secret"}, {"page", 2}, {"next_host", HubServer::get().other_url()}});
  expect_failure(ErrorKind::io, {"another server"});
  for (const json& request : HubServer::get().requests()) EXPECT_EQ(request["to"], "127.0.0.1");
}

TEST_F(Faults, RedirectsKeepTheTokenAtHome) {
  options.source.token = "secret";
  serve({{"token", "secret"}, {"cdn", "127.0.0.2"}});
  pull();
  expect_whole();
  int elsewhere = 0;
  for (const json& request : HubServer::get().requests()) {
    const bool home = request["to"] == "127.0.0.1";
    EXPECT_EQ(request["authorization"].is_null(), !home) << request;
    EXPECT_TRUE(request["cookie"].is_null());
    elsewhere += home ? 0 : 1;
  }
  EXPECT_EQ(elsewhere, 7);
  fs::remove_all(target);
  serve({{"token", "secret"}, {"faults", json::array({{{"path", "^/zai-org.*safetensors"}, {"kind", "redirect"}}})}});
  pull();
  expect_whole();
  for (const json& request : HubServer::get().requests("/moved")) {
    EXPECT_EQ(request["authorization"], "Bearer secret") << "the same server";
  }
}

TEST_F(Faults, CookiesStayAtHomeToo) {
  use_modelscope();
  options.source.token = "secret";
  serve({{"faults", json::array({{{"path", "^/api.*/repo$"}, {"kind", "redirect"}, {"host", "127.0.0.2:PORT"}}})}});
  pull();
  expect_whole();
  const auto moved = HubServer::get().requests("/moved");
  EXPECT_GE(moved.size(), 8u);
  for (const json& request : moved) {
    EXPECT_TRUE(request["authorization"].is_null() && request["cookie"].is_null()) << request;
  }
}

TEST_F(Faults, RedirectsInACircle) {
  serve({{"faults", json::array({{{"path", "safetensors"}, {"kind", "redirect"}}})}});
  expect_failure(ErrorKind::io, {"redirect"});
}

TEST_F(Faults, FolderInTheWay) {
  serve();
  fs::create_directories(target / "big/model.safetensors");
  expect_failure(ErrorKind::io, {"big/model.safetensors", "folder"});
}

TEST_F(Faults, LinksAreNotWrittenThrough) {
  serve();
  const fs::path victim = scratch / "victim";
  write(victim, "mine");
  fs::create_directories(target / "big");
  fs::create_symlink(victim, target / "big/model.safetensors.part");
  expect_failure(ErrorKind::io, {"model.safetensors.part"});
  EXPECT_EQ(read(victim), "mine");
}

// A limit on the size of files stands for a full disk.
TEST_F(Faults, FullDisk) {
  serve();
  struct rlimit before = {};
  ::getrlimit(RLIMIT_FSIZE, &before);
  const auto old_handler = ::signal(SIGXFSZ, SIG_IGN);
  const rlimit limit{.rlim_cur = 400000, .rlim_max = before.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &limit);
  const Error error = failed_pull();
  ::setrlimit(RLIMIT_FSIZE, &before);
  ::signal(SIGXFSZ, old_handler);
  EXPECT_EQ(static_cast<int>(error.kind()), static_cast<int>(ErrorKind::io));
  EXPECT_THAT(error.what(), HasSubstr("writing failed"));
  EXPECT_THAT(error.what(), HasSubstr("the same command goes on"));
  EXPECT_FALSE(fs::exists(target / "big/model.safetensors"));
  serve();
  const PullReport report = pull();
  expect_whole();
  EXPECT_GT(report.files.at(1).resumed, 100000);
}

}  // namespace
}  // namespace glmimage::hub::test
