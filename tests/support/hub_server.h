#pragma once

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "support/process.h"

namespace glmimage::test {

// tests/support/hub_server.py as a process of its own, on loopback. One serves all tests of a program.
class HubServer {
 public:
  static constexpr const char* kId = "zai-org/GLM-Image";
  static constexpr const char* kCommit = "0123456789abcdef0123456789abcdef01234567";

  // Started at the first call. Throws std::runtime_error when it does not come up.
  static HubServer& get();

  // What is served from now on: a script for the files of `folder`, with `more` laid over it; the log is emptied.
  void serve(const std::filesystem::path& folder, const nlohmann::json& more = nlohmann::json::object());
  void release() const;  // ends every stall

  std::string url() const;        // http://127.0.0.1:PORT
  std::string other_url() const;  // the same server under another host: http://127.0.0.2:PORT
  std::string tls_url() const;    // https://127.0.0.1:PORT; empty: there is no openssl program to make a certificate
  std::filesystem::path certificate() const { return folder_ / "certificate.pem"; }

  // Requests that ended, in that order, whose path holds `fragment`.
  std::vector<nlohmann::json> requests(const std::string& fragment = "") const;
  // Bytes of bodies they were sent.
  int64_t sent(const std::string& fragment) const;

 private:
  HubServer();
  std::filesystem::path folder_;
  std::unique_ptr<Process> process_;
  int port_ = 0, tls_port_ = 0, number_ = 0;
};

}  // namespace glmimage::test
