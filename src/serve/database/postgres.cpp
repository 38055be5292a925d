#include <array>
#include <cstdio>
#include <cstring>

#include "core/error.h"
#include "serve/database/drivers.h"
#include "serve/database/libpq.h"
#include "serve/database/postgres_listener.h"

namespace glmimage::serve {
namespace {

constexpr const char* kChannel = "glm_image";
constexpr int64_t kQueueLock = 0x676c6d696d616765;  // "glmimage": one advisory lock of the whole database
constexpr Oid kInt8 = 20, kText = 25, kFloat8 = 701;

// libpq's messages end in a new line and may have several.
std::string one_line(const char* message) {
  std::string text = message;
  while (!text.empty() && text.back() == '\n') text.pop_back();
  for (char& c : text) c = c == '\n' ? ' ' : c;
  return text;
}

// Serialization failures and deadlocks (40…), a server that shuts down or starts (57P…), too many connections (53300).
bool passes(const std::string& state) {
  return state.starts_with("40") || state.starts_with("57P") || state == "53300" || state == "55P03";
}

class PostgresConnection : public Connection {
 public:
  explicit PostgresConnection(const std::string& uri) : db_(connect_postgres(uri)) {}

  SqlRows run(const std::string& sql, const std::vector<SqlValue>& parameters) override {
    static const std::vector<std::pair<std::string, std::string>> words = {
        {"$now", "(extract(epoch from clock_timestamp()) * 1000)::bigint"},
        {"$for_update", "FOR UPDATE"},
        {"$skip_locked", "FOR UPDATE SKIP LOCKED"}};
    const std::string ours = replace_words(sql, words);
    std::vector<std::string> texts(parameters.size());
    std::vector<const char*> values(parameters.size());
    std::vector<Oid> types(parameters.size());
    for (size_t i = 0; i < parameters.size(); ++i) types[i] = spell(parameters[i], texts[i], values[i]);
    const PostgresResult result(libpq().execParams(db_.get(), ours.c_str(), static_cast<int>(parameters.size()),
                                                   types.data(), values.data(), nullptr, nullptr, 0));
    check(result.get());
    return read(result.get());
  }

  void lock_queue() override { run("SELECT pg_advisory_xact_lock($1)", {kQueueLock}); }

 protected:
  void begin(bool writes, bool durable) override {
    run(writes ? "BEGIN" : "BEGIN READ ONLY", {});
    if (writes && !durable) run("SET LOCAL synchronous_commit = off", {});
  }

  // Nobody knows whether a commit happened whose answer was lost, so it is not simply tried again.
  void commit() override {
    try {
      run("COMMIT", {});
    } catch (const TryAgain& lost) {
      if (!broken()) throw;
      fail(ErrorKind::io, "the connection was lost while a change was made: ", lost.message);
    }
  }

  void roll_back() noexcept override {
    if (libpq().transactionStatus(db_.get()) != PQTRANS_IDLE) PostgresResult(libpq().exec(db_.get(), "ROLLBACK"));
  }
  bool broken() const noexcept override {
    return libpq().status(db_.get()) != CONNECTION_OK || libpq().transactionStatus(db_.get()) != PQTRANS_IDLE;
  }

 private:
  static Oid spell(const SqlValue& value, std::string& text, const char*& pointer) {
    if (const auto* number = std::get_if<int64_t>(&value)) {
      text = std::to_string(*number);
      pointer = text.c_str();
      return kInt8;
    }
    if (const auto* real = std::get_if<double>(&value)) {
      std::array<char, 32> digits;
      std::snprintf(digits.data(), digits.size(), "%.17g", *real);
      text = digits.data();
      pointer = text.c_str();
      return kFloat8;
    }
    if (const auto* given = std::get_if<std::string>(&value)) {
      if (given->find('\0') != std::string::npos) fail(ErrorKind::usage, "a text with a zero byte cannot be stored");
      text = *given;
      pointer = text.c_str();
      return kText;
    }
    pointer = nullptr;
    return 0;
  }

  void check(const PGresult* result) const {
    const ExecStatusType status = libpq().resultStatus(result);
    if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK) return;
    const char* state = result ? libpq().resultErrorField(result, PG_DIAG_SQLSTATE) : nullptr;
    const std::string message = one_line(libpq().errorMessage(db_.get()));
    if (libpq().status(db_.get()) != CONNECTION_OK || (state && passes(state))) throw TryAgain{message};
    const bool full = state && std::strncmp(state, "53", 2) == 0;
    fail(ErrorKind::io, "the database refused: ", message, full ? "; is the server's disk full?" : "");
  }

  static SqlRows read(const PGresult* result) {
    SqlRows rows;
    for (int r = 0; r < libpq().ntuples(result); ++r) {
      std::vector<SqlValue> values;
      for (int c = 0; c < libpq().nfields(result); ++c) {
        if (libpq().getisnull(result, r, c)) {
          values.emplace_back();
        } else {
          values.emplace_back(
              std::string(libpq().getvalue(result, r, c), static_cast<size_t>(libpq().getlength(result, r, c))));
        }
      }
      rows.emplace_back(std::move(values));
    }
    return rows;
  }

  PostgresHandle db_;
};

class PostgresDatabase : public Database {
 public:
  explicit PostgresDatabase(std::string uri) : uri_(std::move(uri)) {
    try {
      const PostgresHandle first = connect_postgres(uri_);  // fails now rather than after patience
      name_ = concat(libpq().host(first.get()), ":", libpq().port(first.get()), "/", libpq().db(first.get()));
    } catch (const TryAgain& refused) {
      fail(ErrorKind::io, "the PostgreSQL server cannot be reached: ", refused.message);
    }
    listener_.emplace(uri_, kChannel, changes_);
  }

  void announce() override {
    Database::announce();
    try {
      transaction(Access::relaxed, [](Connection& c) { c.run("SELECT pg_notify($1, '')", {std::string(kChannel)}); });
    } catch (const Error&) {
      // What is announced is committed already; others find it when they next ask.
    }
  }
  std::string describe() const override { return name_; }

 protected:
  std::unique_ptr<Connection> connect() override { return std::make_unique<PostgresConnection>(uri_); }

 private:
  std::string uri_, name_;
  std::optional<PostgresListener> listener_;
};

}  // namespace

PostgresHandle connect_postgres(const std::string& uri) {
  // A server that hangs is a server that is gone: limits of our own, which the URI's settings override.
  static constexpr std::array<const char*, 7> names = {"connect_timeout",
                                                       "keepalives_idle",
                                                       "tcp_user_timeout",
                                                       "application_name",
                                                       "client_encoding",
                                                       "dbname",
                                                       nullptr};
  const std::array<const char*, 7> values = {"5", "30", "30000", "glm-image", "UTF8", uri.c_str(), nullptr};
  PostgresHandle connection(libpq().connectdbParams(names.data(), values.data(), 1));
  if (!connection) fail(ErrorKind::out_of_memory, "no memory for a connection to PostgreSQL");
  if (libpq().status(connection.get()) != CONNECTION_OK)
    throw TryAgain{one_line(libpq().errorMessage(connection.get()))};
  libpq().setNoticeProcessor(
      connection.get(), [](void*, const char*) {}, nullptr);
  return connection;
}

const LibPq& libpq() {
  static const LibPq functions;
  return functions;
}

std::unique_ptr<Database> open_postgres(const std::string& uri) { return std::make_unique<PostgresDatabase>(uri); }

}  // namespace glmimage::serve
