#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "support/process.h"

namespace glmimage::test {

// A PostgreSQL server of the tests' own: started once per test program on a socket in a temporary folder, without TCP,
// as the user `postgres` where the tests are root's; gone with the program.
class PostgresServer {
 public:
  // Null when PostgreSQL is not installed (scripts/bootstrap --dev). Throws std::runtime_error when it does not start.
  // For the main thread: the server ends with the thread that started it.
  static PostgresServer* instance();
  ~PostgresServer();

  std::string new_database();    // an empty one: postgresql:///name?…
  std::string empty_database();  // always the same, emptied: quicker, for tests that run one after the other
  void restart();                // as an administrator would, "fast": open connections are lost

 private:
  PostgresServer(std::filesystem::path programs, std::filesystem::path folder);
  std::vector<std::string> as_server(const std::string& program, const std::vector<std::string>& arguments) const;
  void start();

  std::filesystem::path programs_, folder_;
  std::unique_ptr<Process> server_;
  int databases_ = 0;
  std::string shared_;
};

}  // namespace glmimage::test
