#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "serve/change_signal.h"

namespace glmimage::serve {

using SqlValue = std::variant<std::monostate, int64_t, double, std::string>;

// One row of an answer. Columns count from 0. Throws ErrorKind::io when the column is of another type: a database of
// another program, or a broken one.
class SqlRow {
 public:
  explicit SqlRow(std::vector<SqlValue> values) : values_(std::move(values)) {}
  bool null(size_t column) const;
  int64_t integer(size_t column) const;
  double number(size_t column) const;
  std::string text(size_t column) const;

 private:
  std::vector<SqlValue> values_;
};
using SqlRows = std::vector<SqlRow>;

// One connection, in a transaction. The SQL is what both databases speak; parameters are $1, $2, …; and three words are
// spelled as the database wants them: $now (milliseconds since 1970 by the database's clock), $for_update and
// $skip_locked (row locks that wait, and that pass over; nothing in SQLite, which has one writer).
class Connection {
 public:
  virtual ~Connection() = default;
  virtual SqlRows run(const std::string& sql, const std::vector<SqlValue>& parameters = {}) = 0;
  // Holds back every other transaction that calls this, until this one ends.
  virtual void lock_queue() = 0;

 protected:
  friend class Database;
  virtual void begin(bool writes, bool durable) = 0;
  virtual void commit() = 0;
  virtual void roll_back() noexcept = 0;
  virtual bool broken() const noexcept = 0;  // cannot be used again
};

// Thrown by connections for what passes when it is tried again: a deadlock, a busy file, a connection that was closed
// before anything was asked. It never leaves Database.
struct TryAgain {
  std::string message;
};

enum class Access {
  read,
  write,    // on the disk when the transaction returns
  relaxed,  // a write that a power cut (not a killed process) may lose: heartbeats, progress, last use
};

// A SQLite file or a PostgreSQL server, with the tables of this version (schema.h). Threads share it.
class Database {
 public:
  // "postgres://…", "postgresql://…": libpq's URI, further settings from its environment (PGPASSWORD, …). Anything else
  // is a path of a SQLite file, made if it is not there, readable by its owner alone; ":memory:" is refused. Makes or
  // migrates the tables. Throws ErrorKind::io: cannot be opened, is broken, is no such database; ErrorKind::usage: its
  // tables are of a later version of this program.
  static std::unique_ptr<Database> open(const std::string& where);
  virtual ~Database() = default;

  // Runs `body` in one transaction and returns its result. `body` may run again after a deadlock or a lost connection,
  // so it has no effect but on the database. An exception rolls back. Throws ErrorKind::io.
  template <typename Body>
  auto transaction(Access access, Body&& body) {
    using Result = decltype(body(std::declval<Connection&>()));
    if constexpr (std::is_void_v<Result>) {
      run(access, [&](Connection& c) { body(c); });
    } else {
      std::optional<Result> result;
      run(access, [&](Connection& c) { result.emplace(body(c)); });
      return std::move(*result);
    }
  }

  // Tells everyone who waits on changes(), in other processes too where the database can (PostgreSQL).
  virtual void announce() { changes_.notify(); }
  ChangeSignal& changes() { return changes_; }
  virtual std::string describe() const = 0;  // for logs: the path, or host and database name; no password

 protected:
  virtual std::unique_ptr<Connection> connect() = 0;
  // Held while a transaction runs: where writers exclude each other, those of one process stand in line here, which is
  // quicker and fairer than what the database does about it.
  virtual std::unique_lock<std::mutex> wait_for_turn(Access) { return {}; }
  ChangeSignal changes_;

 private:
  void run(Access access, const std::function<void(Connection&)>& body);
  std::unique_ptr<Connection> take();
  void give_back(std::unique_ptr<Connection> connection);

  std::mutex mutex_;
  std::vector<std::unique_ptr<Connection>> idle_;
};

}  // namespace glmimage::serve
