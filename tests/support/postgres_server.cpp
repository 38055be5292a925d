#include "support/postgres_server.h"

#include <libpq-fe.h>
#include <pwd.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <stdexcept>
#include <thread>

namespace glmimage::test {
namespace {

namespace fs = std::filesystem;

// Debian keeps the server's programs out of the PATH, one folder a version.
std::optional<fs::path> find_programs() {
  std::vector<fs::path> found;
  std::error_code ignored;
  for (const auto& version : fs::directory_iterator("/usr/lib/postgresql", ignored)) {
    if (fs::exists(version.path() / "bin/initdb")) found.push_back(version.path() / "bin");
  }
  if (found.empty()) return {};
  return *std::max_element(found.begin(), found.end());
}

std::unique_ptr<PostgresServer>& holder() {
  static std::unique_ptr<PostgresServer> server;
  return server;
}

}  // namespace

PostgresServer* PostgresServer::instance() {
  static const std::optional<fs::path> programs = find_programs();
  if (!programs) return nullptr;
  if (!holder()) {
    std::string folder = (fs::temp_directory_path() / "glm-image-pg-XXXXXX").string();  // sockets have short paths
    if (!::mkdtemp(folder.data())) throw std::runtime_error("no temporary folder for PostgreSQL");
    if (::getuid() == 0) {
      const passwd* user = ::getpwnam("postgres");
      if (!user || ::chown(folder.c_str(), user->pw_uid, user->pw_gid) != 0) {
        throw std::runtime_error("PostgreSQL refuses root, and there is no user postgres");
      }
    }
    holder().reset(new PostgresServer(*programs, folder));
  }
  return holder().get();
}

PostgresServer::PostgresServer(fs::path programs, fs::path folder)
    : programs_(std::move(programs)), folder_(std::move(folder)) {
  const ProcessResult made =
      run_process({.arguments = as_server("initdb", {"-D", (folder_ / "data").string(), "-U", "postgres", "-A", "trust",
                                                     "-E", "UTF8", "--locale=C", "--no-sync"}),
                   .environment = {},
                   .input = {},
                   .folder = folder_.string()});
  if (made.exit_code != 0) throw std::runtime_error("initdb: " + made.err);
  start();
}

PostgresServer::~PostgresServer() {
  if (server_) {
    server_->send(SIGQUIT);
    server_->wait();
  }
  std::error_code ignored;
  fs::remove_all(folder_, ignored);
}

// setpriv becomes the program, so that a signal reaches it; with the test it dies too, however that ends.
std::vector<std::string> PostgresServer::as_server(const std::string& program,
                                                   const std::vector<std::string>& arguments) const {
  std::vector<std::string> out = {"/usr/bin/setpriv", "--pdeathsig", "QUIT"};
  if (::getuid() == 0) out.insert(out.end(), {"--reuid=postgres", "--regid=postgres", "--init-groups"});
  out.push_back((programs_ / program).string());
  out.insert(out.end(), arguments.begin(), arguments.end());
  return out;
}

void PostgresServer::start() {
  server_ = std::make_unique<Process>(ProcessOptions{
      .arguments = as_server("postgres", {"-D", (folder_ / "data").string(), "-k", folder_.string(), "-c",
                                          "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=200"}),
      .environment = {{"LC_ALL", "C"}},
      .input = {},
      .folder = folder_.string(),
      .limit = std::chrono::hours(12)});
  if (!server_->wait_for_error_text("ready to accept connections")) {
    throw std::runtime_error("PostgreSQL does not start: " + server_->wait().err);
  }
}

void PostgresServer::restart() {
  server_->send(SIGINT);
  server_->wait();
  start();
}

std::string PostgresServer::empty_database() {
  if (shared_.empty()) shared_ = new_database();
  const std::unique_ptr<PGconn, void (*)(PGconn*)> connection(PQconnectdb(shared_.c_str()), PQfinish);
  const std::unique_ptr<PGresult, void (*)(PGresult*)> done(
      PQexec(connection.get(), "SET client_min_messages = warning; DROP SCHEMA public CASCADE; CREATE SCHEMA public"),
      PQclear);
  if (PQresultStatus(done.get()) != PGRES_COMMAND_OK) throw std::runtime_error(PQerrorMessage(connection.get()));
  return shared_;
}

std::string PostgresServer::new_database() {
  const std::string name = "test" + std::to_string(++databases_);
  const ProcessResult made =
      run_process({.arguments = {(programs_ / "createdb").string(), "-h", folder_.string(), "-U", "postgres", name},
                   .environment = {},
                   .input = {},
                   .folder = {}});
  if (made.exit_code != 0) throw std::runtime_error("createdb: " + made.err);
  return "postgresql:///" + name + "?host=" + folder_.string() + "&user=postgres";
}

}  // namespace glmimage::test
