#include "support/hub_server.h"

#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <stdexcept>
#include <thread>

namespace glmimage::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// By another name first: the server reads the script at any moment.
void put(const fs::path& file, const std::string& text) {
  const fs::path part = file.string() + ".new";
  std::ofstream(part) << text;
  fs::rename(part, file);
}

}  // namespace

HubServer& HubServer::get() {
  static HubServer server;
  return server;
}

HubServer::HubServer() {
  ::setenv("no_proxy", "127.0.0.1,127.0.0.2", 1);  // whatever proxy this machine has
  folder_ = fs::path(GLM_IMAGE_BINARY_DIR) / "test_scratch" / ("hub_server_" + std::to_string(::getpid()));
  fs::remove_all(folder_);
  fs::create_directories(folder_);
  put(folder_ / "script.json", "{}");
  ProcessOptions options{
      .arguments = {"/usr/bin/python3", GLM_IMAGE_SOURCE_DIR "/tests/support/hub_server.py", folder_.string()},
      .environment = {},
      .input = {},
      .folder = {},
      .limit = std::chrono::minutes(30)};
  const fs::path key = folder_ / "key.pem";
  if (fs::exists("/usr/bin/openssl")) {
    const ProcessResult made = run_process(
        {.arguments = {"/usr/bin/openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                       "-nodes", "-keyout", key.string(), "-out", certificate().string(), "-days", "2", "-subj",
                       "/CN=loopback", "-addext", "subjectAltName=IP:127.0.0.1"},
         .environment = {},
         .input = {},
         .folder = {}});
    if (made.exit_code != 0) throw std::runtime_error("openssl: " + made.err);
    options.arguments.insert(options.arguments.end(), {certificate().string(), key.string()});
  }
  process_ = std::make_unique<Process>(options);
  for (int i = 0; i < 1000 && !fs::exists(folder_ / "ready.json"); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  std::ifstream ready(folder_ / "ready.json");
  if (!ready) throw std::runtime_error("the hub server did not start");
  const json ports = json::parse(ready);
  port_ = ports.at("port");
  tls_port_ = ports.value("tls_port", 0);
}

void HubServer::serve(const fs::path& folder, const json& more) {
  json script = {{"id", kId}, {"commit", kCommit}, {"folder", folder.string()}};
  script.update(more);
  script["number"] = ++number_;  // so that the same faults begin to count anew
  fs::remove(folder_ / "release");
  put(folder_ / "script.json", script.dump());
  put(folder_ / "log", "");
}

void HubServer::release() const { put(folder_ / "release", ""); }

std::string HubServer::url() const { return "http://127.0.0.1:" + std::to_string(port_); }
std::string HubServer::other_url() const { return "http://127.0.0.2:" + std::to_string(port_); }
std::string HubServer::tls_url() const { return tls_port_ ? "https://127.0.0.1:" + std::to_string(tls_port_) : ""; }

std::vector<json> HubServer::requests(const std::string& fragment) const {
  std::this_thread::sleep_for(std::chrono::milliseconds(30));  // the server notes a request after its last byte
  std::vector<json> out;
  std::ifstream log(folder_ / "log");
  for (std::string line; std::getline(log, line);) {
    json request = json::parse(line);
    if (request.at("number") != number_) continue;  // of an earlier script, late
    if (request.at("path").get<std::string>().find(fragment) != std::string::npos) out.push_back(std::move(request));
  }
  return out;
}

int64_t HubServer::sent(const std::string& fragment) const {
  int64_t sum = 0;
  for (const json& request : requests(fragment)) sum += request.at("sent").get<int64_t>();
  return sum;
}

}  // namespace glmimage::test
