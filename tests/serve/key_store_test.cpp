#include "serve/key_store.h"

#include <gmock/gmock.h>

#include <thread>

#include "core/error.h"
#include "core/sha256.h"
#include "serve/store_fixture.h"

namespace glmimage::serve::test {
namespace {

using testing::HasSubstr;
using testing::MatchesRegex;

class KeyStoreTest : public StoreTest {};
FOR_BOTH_DATABASES(KeyStoreTest);

TEST_P(KeyStoreTest, AKeyOpensUntilItIsRevoked) {
  KeyStore keys(*database_);
  EXPECT_FALSE(keys.any());
  const KeyStore::NewKey made = keys.add("phone app", {.queue_share = 4, .requests_per_minute = 60});
  EXPECT_TRUE(keys.any());
  EXPECT_THAT(made.secret, MatchesRegex("gi_[0-9A-Za-z]{43}"));
  const std::optional<ApiKey> key = keys.authenticate(made.secret);
  ASSERT_TRUE(key);
  EXPECT_EQ(key->id, made.key.id);
  EXPECT_EQ(key->limits.queue_share, 4);
  EXPECT_FALSE(key->last_used);
  EXPECT_TRUE(keys.list().at(0).last_used);
  std::string wrong = made.secret;
  wrong.back() = wrong.back() == 'a' ? 'b' : 'a';
  EXPECT_FALSE(keys.authenticate(wrong));
  EXPECT_FALSE(keys.authenticate(""));
  EXPECT_FALSE(keys.authenticate("gi_"));
  EXPECT_FALSE(keys.authenticate("gi_" + std::string(100000, 'a')));
  EXPECT_FALSE(keys.authenticate(std::string("gi_\0' OR 1=1", 12)));
  EXPECT_EQ(keys.revoke("phone app").id, made.key.id);
  EXPECT_FALSE(keys.authenticate(made.secret));
  EXPECT_FALSE(keys.any());
  EXPECT_TRUE(keys.list().at(0).revoked);
  EXPECT_THROW(keys.revoke(made.key.id), Error);
}

TEST_P(KeyStoreTest, TheSecretIsNotInTheDatabase) {
  KeyStore keys(*database_);
  const std::string secret = keys.add("one").secret;
  database_->transaction(Access::read, [&](Connection& c) {
    const SqlRow row = c.run("SELECT id, name, hash FROM api_keys")[0];
    for (size_t i = 0; i < 3; ++i) EXPECT_EQ(row.text(i).find(secret.substr(3, 20)), std::string::npos);
    EXPECT_EQ(row.text(2), sha256_hex(secret));
  });
}

TEST_P(KeyStoreTest, NamesInUseAreTakenOnce) {
  KeyStore keys(*database_);
  const ApiKey first = keys.add("app").key;
  EXPECT_THROW(keys.add("app"), Error);
  keys.revoke(first.id);
  EXPECT_NE(keys.add("app").key.id, first.id);
  EXPECT_EQ(keys.list().size(), 2u);
  for (const std::string& bad : {std::string(), std::string(101, 'x'), std::string("a\nb"), std::string("\xff")}) {
    EXPECT_THROW(keys.add(bad), Error) << bad;
  }
  EXPECT_THROW(keys.add("negative", {.queue_share = -1}), Error);
}

TEST_P(KeyStoreTest, RequestsAMinuteAreCountedByAllServersTogether) {
  KeyStore keys(*database_);
  const ApiKey key = keys.add("app", {.queue_share = 0, .requests_per_minute = 10}).key;
  // Not across the turn of a minute.
  const auto second =
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count() %
      60;
  if (second >= 57) std::this_thread::sleep_for(std::chrono::seconds(61 - second));
  std::atomic<int> admitted = 0;
  {
    std::vector<std::jthread> servers;
    for (int i = 0; i < 4; ++i) {
      servers.emplace_back([&] {
        for (int k = 0; k < 5; ++k) admitted += keys.admit(key) == 0;
      });
    }
  }
  EXPECT_EQ(admitted, 10);
  const int64_t wait = keys.admit(key);
  EXPECT_GE(wait, 1);
  EXPECT_LE(wait, 60);
  database_->transaction(Access::write, [](Connection& c) { c.run("UPDATE key_minutes SET minute = minute - 1"); });
  EXPECT_EQ(keys.admit(key), 0);
  EXPECT_EQ(keys.admit(keys.add("free").key), 0);
}

}  // namespace
}  // namespace glmimage::serve::test
