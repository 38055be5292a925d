#include <fcntl.h>
#include <sqlite3.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <regex>
#include <unordered_map>

#include "core/error.h"
#include "serve/database/drivers.h"

namespace glmimage::serve {
namespace {

constexpr int kBusyMilliseconds = 2000;  // Database tries again after that

const char* cause(int code) {
  switch (code & 0xff) {
    case SQLITE_FULL: return "; the disk (or the quota) is full";
    case SQLITE_IOERR: return "; is the disk full or broken, or is there a file size limit (ulimit -f)?";
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: return "; the file is broken or no SQLite database: restore a copy, or move it away";
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_CANTOPEN: return "; may this user write the file and its folder?";
    default: return "";
  }
}

struct Finalize {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
struct Close {
  void operator()(sqlite3* db) const { sqlite3_close_v2(db); }
};
using Statement = std::unique_ptr<sqlite3_stmt, Finalize>;

class SqliteConnection : public Connection {
 public:
  explicit SqliteConnection(const std::string& file) : file_(file) {
    sqlite3* db = nullptr;
    const int code = sqlite3_open_v2(file.c_str(), &db,
                                     SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, nullptr);
    db_.reset(db);
    check(code);
    sqlite3_busy_timeout(db_.get(), kBusyMilliseconds);
    const SqlRows mode = run("PRAGMA journal_mode = WAL");
    if (mode.empty() || mode[0].text(0) != "wal") {
      fail(ErrorKind::io, file_, ": cannot be kept with a write-ahead log; is it on a network drive?");
    }
    run("PRAGMA foreign_keys = ON");
  }

  SqlRows run(const std::string& sql, const std::vector<SqlValue>& parameters) override {
    sqlite3_stmt* statement = prepare(sql);
    const Reset reset{statement};
    for (size_t i = 0; i < parameters.size(); ++i) bind(statement, static_cast<int>(i) + 1, parameters[i]);
    SqlRows rows;
    int code = SQLITE_ROW;
    while ((code = sqlite3_step(statement)) == SQLITE_ROW) rows.push_back(read(statement));
    if (code != SQLITE_DONE) check(code);
    return rows;
  }

  void lock_queue() override {}  // a transaction that writes is alone

 protected:
  void begin(bool writes, bool durable) override {
    // In WAL mode, FULL syncs the log at every commit, NORMAL only when the log is folded into the file.
    if (writes && durable != durable_) {
      run(durable ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL");
      durable_ = durable;
    }
    run(writes ? "BEGIN IMMEDIATE" : "BEGIN");
  }
  void commit() override { run("COMMIT"); }
  void roll_back() noexcept override {
    if (sqlite3_get_autocommit(db_.get()) == 0) sqlite3_exec(db_.get(), "ROLLBACK", nullptr, nullptr, nullptr);
  }
  bool broken() const noexcept override { return sqlite3_get_autocommit(db_.get()) == 0; }

 private:
  SqlRows run(const std::string& sql) { return run(sql, {}); }

  struct Reset {
    sqlite3_stmt* statement;
    ~Reset() {
      sqlite3_reset(statement);
      sqlite3_clear_bindings(statement);
    }
  };

  void check(int code) const {
    if (code == SQLITE_OK) return;
    const int primary = code & 0xff;
    const std::string message = db_ ? sqlite3_errmsg(db_.get()) : sqlite3_errstr(code);
    if (primary == SQLITE_BUSY || primary == SQLITE_LOCKED) throw TryAgain{"other processes keep the database busy"};
    if (primary == SQLITE_NOMEM) fail(ErrorKind::out_of_memory, file_, ": ", message);
    fail(ErrorKind::io, file_, ": ", message, cause(code));
  }

  sqlite3_stmt* prepare(const std::string& sql) {
    const auto known = statements_.find(sql);
    if (known != statements_.end()) return known->second.get();
    static const std::regex parameter(R"(\$([0-9]+))");
    const std::string ours =
        std::regex_replace(replace_words(sql, {{"$now", "CAST((julianday('now') - 2440587.5) * 86400000.0 AS INTEGER)"},
                                               {"$for_update", ""},
                                               {"$skip_locked", ""}}),
                           parameter, "?$1");
    sqlite3_stmt* statement = nullptr;
    check(sqlite3_prepare_v3(db_.get(), ours.c_str(), static_cast<int>(ours.size()), SQLITE_PREPARE_PERSISTENT,
                             &statement, nullptr));
    statements_.emplace(sql, statement);
    return statement;
  }

  void bind(sqlite3_stmt* statement, int at, const SqlValue& value) const {
    if (const auto* number = std::get_if<int64_t>(&value)) {
      check(sqlite3_bind_int64(statement, at, *number));
    } else if (const auto* real = std::get_if<double>(&value)) {
      check(sqlite3_bind_double(statement, at, *real));
    } else if (const auto* text = std::get_if<std::string>(&value)) {
      check(sqlite3_bind_text64(statement, at, text->data(), text->size(), SQLITE_TRANSIENT, SQLITE_UTF8));
    }
  }

  static SqlRow read(sqlite3_stmt* statement) {
    std::vector<SqlValue> values;
    for (int i = 0; i < sqlite3_column_count(statement); ++i) {
      switch (sqlite3_column_type(statement, i)) {
        case SQLITE_INTEGER: values.emplace_back(static_cast<int64_t>(sqlite3_column_int64(statement, i))); break;
        case SQLITE_FLOAT: values.emplace_back(sqlite3_column_double(statement, i)); break;
        case SQLITE_NULL: values.emplace_back(); break;
        default: {
          const void* text = sqlite3_column_blob(statement, i);
          values.emplace_back(
              std::string(static_cast<const char*>(text), static_cast<size_t>(sqlite3_column_bytes(statement, i))));
        }
      }
    }
    return SqlRow(std::move(values));
  }

  std::string file_;
  std::unique_ptr<sqlite3, Close> db_;
  bool durable_ = true;                                    // SQLite's own default is FULL
  std::unordered_map<std::string, Statement> statements_;  // closed before the database
};

class SqliteDatabase : public Database {
 public:
  explicit SqliteDatabase(std::string file) : file_(std::move(file)) {
    // Made by us, so that nobody else reads prompts and keys; SQLite gives its log the same mode.
    const int fd = ::open(file_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) fail(ErrorKind::io, file_, ": cannot be opened: ", std::strerror(errno));
    ::close(fd);
    transaction(Access::read, [&](Connection& c) {
      const SqlRows answer = c.run("PRAGMA quick_check(1)");
      if (answer.empty() || answer[0].text(0) != "ok") {
        fail(ErrorKind::io, file_, ": ", answer.empty() ? "no answer" : answer[0].text(0), cause(SQLITE_CORRUPT));
      }
    });
  }
  std::string describe() const override { return file_; }

 protected:
  std::unique_ptr<Connection> connect() override { return std::make_unique<SqliteConnection>(file_); }
  std::unique_lock<std::mutex> wait_for_turn(Access access) override {
    return access == Access::read ? std::unique_lock<std::mutex>() : std::unique_lock(writer_);
  }

 private:
  std::mutex writer_;
  std::string file_;
};

}  // namespace

std::unique_ptr<Database> open_sqlite(const std::string& file) {
  if (file.empty() || file.starts_with(":") || file.starts_with("file:")) {
    fail(ErrorKind::usage, "'", file, "' is no path of a database file");
  }
  return std::make_unique<SqliteDatabase>(file);
}

}  // namespace glmimage::serve
