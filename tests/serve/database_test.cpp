#include "serve/database/database.h"

#include <gmock/gmock.h>

#include <fstream>
#include <thread>

#include "core/error.h"
#include "serve/database/schema.h"
#include "serve/store_fixture.h"

namespace glmimage::serve::test {
namespace {

using testing::HasSubstr;
using namespace std::chrono_literals;

// The error of opening a database.
Error opening(const std::string& where) {
  try {
    Database::open(where);
  } catch (const Error& error) {
    return error;
  }
  return {ErrorKind::internal, "no error"};
}

class DatabaseTest : public StoreTest {
 protected:
  void make_counter() {
    database_->transaction(Access::write, [](Connection& c) {
      c.run("CREATE TABLE counter (n BIGINT NOT NULL)");
      c.run("INSERT INTO counter (n) VALUES (0)");
    });
  }
  int64_t counter() {
    return database_->transaction(Access::read,
                                  [](Connection& c) { return c.run("SELECT n FROM counter")[0].integer(0); });
  }
};
FOR_BOTH_DATABASES(DatabaseTest);

TEST_P(DatabaseTest, ValuesComeBackAsTheyWere) {
  database_->transaction(Access::write, [](Connection& c) {
    c.run("CREATE TABLE t (i BIGINT, d DOUBLE PRECISION, s TEXT, n TEXT)");
    c.run("INSERT INTO t VALUES ($1, $2, $3, $4)", {INT64_MIN, 0.1, std::string("it's \"é\" 狐\n"), SqlValue()});
  });
  database_->transaction(Access::read, [](Connection& c) {
    const SqlRow row = c.run("SELECT i, d, s, n FROM t")[0];
    EXPECT_EQ(row.integer(0), INT64_MIN);
    EXPECT_EQ(row.number(1), 0.1);
    EXPECT_EQ(row.text(2), "it's \"é\" 狐\n");
    EXPECT_TRUE(row.null(3));
    EXPECT_THROW(row.integer(2), Error);
    EXPECT_THROW(row.text(3), Error);
  });
}

TEST_P(DatabaseTest, TheClockIsInMilliseconds) {
  const int64_t now =
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch())
          .count();
  const int64_t theirs =
      database_->transaction(Access::read, [](Connection& c) { return c.run("SELECT $now")[0].integer(0); });
  EXPECT_NEAR(static_cast<double>(theirs), static_cast<double>(now), 2000);
}

TEST_P(DatabaseTest, AnExceptionRollsBack) {
  make_counter();
  EXPECT_THROW(database_->transaction(Access::write,
                                      [](Connection& c) {
                                        c.run("UPDATE counter SET n = 5");
                                        fail(ErrorKind::usage, "no");
                                      }),
               Error);
  EXPECT_EQ(counter(), 0);
  EXPECT_THROW(database_->transaction(Access::write, [](Connection& c) { c.run("this is no SQL"); }), Error);
  EXPECT_EQ(counter(), 0);
}

TEST_P(DatabaseTest, WritersTakeTurns) {
  make_counter();
  {
    std::vector<std::jthread> writers;
    for (int i = 0; i < 6; ++i) {
      writers.emplace_back([&] {
        for (int k = 0; k < 20; ++k) {
          database_->transaction(Access::relaxed, [](Connection& c) {
            c.lock_queue();
            const int64_t n = c.run("SELECT n FROM counter")[0].integer(0);
            c.run("UPDATE counter SET n = $1", {n + 1});
          });
        }
      });
    }
  }
  EXPECT_EQ(counter(), 120);
}

TEST_P(DatabaseTest, TablesOfALaterVersionAreLeftAlone) {
  database_->transaction(Access::write,
                         [](Connection& c) { c.run("UPDATE glm_image_schema SET version = version + 1"); });
  const Error error = opening(where_);
  EXPECT_EQ(error.kind(), ErrorKind::usage);
  EXPECT_THAT(error.what(), HasSubstr(concat("version ", schema_version() + 1)));
}

TEST_P(DatabaseTest, SeveralMayOpenAnEmptyDatabaseAtOnce) {
  database_.reset();
  if (GetParam() == DatabaseKind::sqlite)
    where_ = (folder_ / "another.sqlite").string();
  else
    where_ = glmimage::test::PostgresServer::instance()->empty_database();
  {
    std::vector<std::jthread> servers;
    for (int i = 0; i < 4; ++i) servers.emplace_back([&] { EXPECT_NO_THROW(Database::open(where_)); });
  }
  EXPECT_TRUE(JobStore(*Database::open(where_)).submit(new_job("fox")).ok());
}

TEST(PostgresDatabaseTest, ARestartOfTheServerIsWaitedFor) {
  auto* server = glmimage::test::PostgresServer::instance();
  if (!server) GTEST_SKIP() << "PostgreSQL is not installed (scripts/bootstrap --dev)";
  const auto database = Database::open(server->empty_database());
  JobStore jobs(*database);
  const std::string id = jobs.submit(new_job("fox")).job.id;
  std::atomic<bool> over = false;
  int lost = 0, found = 0;
  std::jthread client([&] {
    while (!over) {
      try {
        found += jobs.get(id)->request.prompt == "fox";
      } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::io);
        ++lost;
      }
      std::this_thread::sleep_for(5ms);
    }
  });
  server->restart();
  over = true;
  client.join();
  EXPECT_GT(found, 0);
  EXPECT_EQ(lost, 0);  // a restart takes less than Database's patience
}

TEST(PostgresDatabaseTest, AServerThatIsNotThereIsAnError) {
  const Error error = opening("postgresql:///nobody?host=/nonexistent");
  EXPECT_EQ(error.kind(), ErrorKind::io);
  EXPECT_THAT(error.what(), HasSubstr("cannot be reached"));
  EXPECT_EQ(opening("postgres://%%%").kind(), ErrorKind::io);
}

class SqliteDatabaseTest : public testing::Test {
 protected:
  void SetUp() override { folder_ = glmimage::test::scratch_folder(); }
  std::string file(const std::string& content) const {
    const std::filesystem::path path = folder_ / "broken.sqlite";
    std::ofstream(path, std::ios::binary) << content;
    return path.string();
  }
  std::filesystem::path folder_;
};

TEST_F(SqliteDatabaseTest, AFileOfAnotherKindIsAnError) {
  const Error error = opening(file("this is a letter and no database, and it is long enough for a header of one."));
  EXPECT_EQ(error.kind(), ErrorKind::io);
  EXPECT_THAT(error.what(), HasSubstr("no SQLite database"));
}

TEST_F(SqliteDatabaseTest, ABrokenFileIsAnError) {
  const std::string path = (folder_ / "queue.sqlite").string();
  {
    const auto database = Database::open(path);
    JobStore jobs(*database);
    for (int i = 0; i < 50; ++i) jobs.submit(new_job(std::string(2000, 'x')));
  }
  std::fstream in(path, std::ios::binary | std::ios::in | std::ios::out);
  for (int page = 3; page < 20; ++page) {
    in.seekp(page * 4096);
    in << std::string(600, '\x5a');
  }
  in.close();
  const Error error = opening(path);
  EXPECT_EQ(error.kind(), ErrorKind::io);
  EXPECT_THAT(error.what(), HasSubstr("broken"));
  EXPECT_THAT(error.what(), HasSubstr(path));
}

TEST_F(SqliteDatabaseTest, AnotherProgramsTablesAreAnError) {
  const std::string path = (folder_ / "other.sqlite").string();
  {
    const auto database = Database::open(path);
    database->transaction(Access::write, [](Connection& c) { c.run("DROP TABLE glm_image_schema"); });
  }
  EXPECT_THAT(opening(path).what(), HasSubstr("already exists"));
}

TEST_F(SqliteDatabaseTest, PathsThatCannotBe) {
  EXPECT_EQ(opening("").kind(), ErrorKind::usage);
  EXPECT_EQ(opening(":memory:").kind(), ErrorKind::usage);
  EXPECT_EQ(opening("file:x?mode=ro").kind(), ErrorKind::usage);
  EXPECT_EQ(opening((folder_ / "no folder/queue.sqlite").string()).kind(), ErrorKind::io);
  EXPECT_EQ(opening(folder_.string()).kind(), ErrorKind::io);
}

TEST_F(SqliteDatabaseTest, OnlyTheOwnerReadsTheFiles) {
  const std::string path = (folder_ / "queue.sqlite").string();
  const auto database = Database::open(path);
  JobStore(*database).submit(new_job("secret"));
  for (const char* suffix : {"", "-wal", "-shm"}) {
    const auto mode = std::filesystem::status(path + suffix).permissions();
    EXPECT_EQ(mode, std::filesystem::perms::owner_read | std::filesystem::perms::owner_write) << suffix;
  }
}

}  // namespace
}  // namespace glmimage::serve::test
