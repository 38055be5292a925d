#include "serve/key_store.h"

#include <openssl/crypto.h>

#include "core/error.h"
#include "core/sha256.h"
#include "core/utf8.h"
#include "serve/job_rows.h"
#include "serve/unique_id.h"

namespace glmimage::serve {
namespace {

constexpr const char* kColumns =
    "SELECT id, name, queue_share, requests_per_minute, created, last_used, revoked, hash, "
    "CASE WHEN last_used IS NULL OR last_used < $now - 60000 THEN 1 ELSE 0 END FROM api_keys ";
constexpr size_t kSecretBytes = 32, kLongestName = 100, kLongestSecret = 100;
constexpr int64_t kMinute = 60'000;
const std::string kPrefix = "gi_";

ApiKey key_of(const SqlRow& row) {
  return {.id = row.text(0),
          .name = row.text(1),
          .limits = {.queue_share = row.integer(2), .requests_per_minute = row.integer(3)},
          .created = time_of(row.integer(4)),
          .last_used = optional_time(row, 5),
          .revoked = optional_time(row, 6)};
}

void check_name(const std::string& name) {
  if (name.empty() || name.size() > kLongestName) {
    fail(ErrorKind::usage, "a key's name has 1 to ", kLongestName, " bytes, not ", name.size());
  }
  for (const char c : name) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      fail(ErrorKind::usage, "a key's name has no control characters");
    }
  }
  if (find_invalid_utf8(name) != std::string::npos) fail(ErrorKind::usage, "the key's name is not UTF-8");
}

}  // namespace

KeyStore::KeyStore(Database& database) : database_(database) {}

KeyStore::NewKey KeyStore::add(const std::string& name, const KeyLimits& limits) {
  check_name(name);
  if (limits.queue_share < 0 || limits.requests_per_minute < 0) {
    fail(ErrorKind::usage, "a key's limits are 0 (none) or more");
  }
  NewKey out;
  out.secret = kPrefix + random_text(kSecretBytes);
  const std::string id = "key_" + unique_id();
  out.key = database_.transaction(Access::write, [&](Connection& c) {
    c.lock_queue();
    if (!c.run("SELECT 1 FROM api_keys WHERE name = $1 AND revoked IS NULL", {name}).empty()) {
      fail(ErrorKind::usage, "there is a key named '", name, "' already; revoke it first, or take another name");
    }
    c.run(
        "INSERT INTO api_keys (id, name, hash, queue_share, requests_per_minute, created) "
        "VALUES ($1, $2, $3, $4, $5, $now)",
        {id, name, sha256_hex(out.secret), limits.queue_share, limits.requests_per_minute});
    return key_of(c.run(std::string(kColumns) + "WHERE id = $1", {id})[0]);
  });
  return out;
}

std::vector<ApiKey> KeyStore::list() const {
  return database_.transaction(Access::read, [](Connection& c) {
    std::vector<ApiKey> keys;
    for (const SqlRow& row : c.run(std::string(kColumns) + "ORDER BY created, id")) keys.push_back(key_of(row));
    return keys;
  });
}

ApiKey KeyStore::revoke(const std::string& id_or_name) {
  return database_.transaction(Access::write, [&](Connection& c) {
    const SqlRows rows =
        c.run("UPDATE api_keys SET revoked = $now WHERE (id = $1 OR name = $1) AND revoked IS NULL RETURNING id",
              {id_or_name});
    if (rows.empty()) fail(ErrorKind::usage, "there is no key '", id_or_name, "' in use (see: glm-image keys list)");
    return key_of(c.run(std::string(kColumns) + "WHERE id = $1", {rows[0].text(0)})[0]);
  });
}

bool KeyStore::any() const {
  return database_.transaction(Access::read, [](Connection& c) {
    return !c.run("SELECT 1 FROM api_keys WHERE revoked IS NULL LIMIT 1").empty();
  });
}

// Found by its hash: how long the index looks tells at most about hashes, from which no secret follows. The last
// comparison takes the same time whatever differs.
std::optional<ApiKey> KeyStore::authenticate(const std::string& secret) {
  if (!secret.starts_with(kPrefix) || secret.size() > kLongestSecret) return {};
  const std::string hash = sha256_hex(secret);
  const SqlRows rows = database_.transaction(Access::read, [&](Connection& c) {
    return c.run(std::string(kColumns) + "WHERE hash = $1 AND revoked IS NULL", {hash});
  });
  if (rows.empty()) return {};
  const std::string stored = rows[0].text(7);
  if (stored.size() != hash.size() || CRYPTO_memcmp(stored.data(), hash.data(), hash.size()) != 0) return {};
  ApiKey key = key_of(rows[0]);
  if (rows[0].integer(8) != 0) {
    database_.transaction(
        Access::relaxed, [&](Connection& c) { c.run("UPDATE api_keys SET last_used = $now WHERE id = $1", {key.id}); });
  }
  return key;
}

int64_t KeyStore::admit(const ApiKey& key) {
  if (key.limits.requests_per_minute == 0) return 0;
  return database_.transaction(Access::relaxed, [&](Connection& c) {
    const SqlRow row = c.run(
        "INSERT INTO key_minutes (key, minute, requests) VALUES ($1, $now / $2, 1) ON CONFLICT (key) DO UPDATE SET "
        "requests = CASE WHEN key_minutes.minute = excluded.minute THEN key_minutes.requests + 1 ELSE 1 END, "
        "minute = excluded.minute RETURNING requests, $now % $2",
        {key.id, kMinute})[0];
    if (row.integer(0) <= key.limits.requests_per_minute) return int64_t{0};
    return (kMinute - row.integer(1) + 999) / 1000;
  });
}

}  // namespace glmimage::serve
