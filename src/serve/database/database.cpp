#include "serve/database/database.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <thread>

#include "core/error.h"
#include "serve/database/drivers.h"
#include "serve/database/schema.h"

namespace glmimage::serve {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

// A database that is restarted, or a writer that keeps the file busy, is waited for that long.
constexpr auto kPatience = 5s;

[[noreturn]] void refuse(size_t column, const char* expected) {
  fail(ErrorKind::io, "the database's column ", column, " holds no ", expected,
       ": was it made by another program, or is it broken?");
}

bool is_postgres(const std::string& where) {
  return where.starts_with("postgres://") || where.starts_with("postgresql://");
}

}  // namespace

bool SqlRow::null(size_t column) const { return std::holds_alternative<std::monostate>(values_.at(column)); }

// PostgreSQL answers in text, SQLite in values.
int64_t SqlRow::integer(size_t column) const {
  const SqlValue& value = values_.at(column);
  if (const auto* number = std::get_if<int64_t>(&value)) return *number;
  const auto* text = std::get_if<std::string>(&value);
  char* end = nullptr;
  const int64_t number = text ? std::strtoll(text->c_str(), &end, 10) : 0;
  if (!text || text->empty() || *end != '\0') refuse(column, "integer");
  return number;
}

double SqlRow::number(size_t column) const {
  const SqlValue& value = values_.at(column);
  if (const auto* number = std::get_if<double>(&value)) return *number;
  if (const auto* number = std::get_if<int64_t>(&value)) return static_cast<double>(*number);
  const auto* text = std::get_if<std::string>(&value);
  char* end = nullptr;
  const double number = text ? std::strtod(text->c_str(), &end) : 0;
  if (!text || text->empty() || *end != '\0') refuse(column, "number");
  return number;
}

std::string SqlRow::text(size_t column) const {
  const auto* text = std::get_if<std::string>(&values_.at(column));
  if (!text) refuse(column, "text");
  return *text;
}

std::unique_ptr<Database> Database::open(const std::string& where) {
  std::unique_ptr<Database> database = is_postgres(where) ? open_postgres(where) : open_sqlite(where);
  database->transaction(Access::write, [](Connection& c) { migrate(c); });
  return database;
}

std::unique_ptr<Connection> Database::take() {
  {
    const std::lock_guard lock(mutex_);
    if (!idle_.empty()) {
      std::unique_ptr<Connection> connection = std::move(idle_.back());
      idle_.pop_back();
      return connection;
    }
  }
  return connect();
}

void Database::give_back(std::unique_ptr<Connection> connection) {
  if (connection->broken()) return;
  const std::lock_guard lock(mutex_);
  idle_.push_back(std::move(connection));
}

void Database::run(Access access, const std::function<void(Connection&)>& body) {
  const auto deadline = Clock::now() + kPatience;
  for (auto pause = 2ms;; pause = std::min<std::chrono::milliseconds>(2 * pause, 250ms)) {
    std::unique_ptr<Connection> connection;
    try {
      connection = take();
      const std::unique_lock turn = wait_for_turn(access);
      connection->begin(access != Access::read, access == Access::write);
      body(*connection);
      connection->commit();
      give_back(std::move(connection));
      return;
    } catch (const TryAgain& refused) {
      if (connection) connection->roll_back();
      if (Clock::now() > deadline) fail(ErrorKind::io, describe(), ": ", refused.message);
    } catch (...) {
      if (connection) {
        connection->roll_back();
        give_back(std::move(connection));
      }
      throw;
    }
    if (connection) give_back(std::move(connection));
    std::this_thread::sleep_for(pause);
  }
}

std::string replace_words(std::string sql, const std::vector<std::pair<std::string, std::string>>& words) {
  for (const auto& [word, spelling] : words) {
    for (size_t at = sql.find(word); at != std::string::npos; at = sql.find(word, at + spelling.size())) {
      sql.replace(at, word.size(), spelling);
    }
  }
  return sql;
}

}  // namespace glmimage::serve
