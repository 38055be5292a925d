#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "serve/database/database.h"
#include "serve/job.h"

namespace glmimage::serve {

struct KeyLimits {
  int64_t queue_share = 0;          // jobs of this key that may wait or run at once; 0: no limit
  int64_t requests_per_minute = 0;  // 0: no limit
};

struct ApiKey {
  std::string id;    // key_…; the owner of its jobs
  std::string name;  // for people
  KeyLimits limits;
  Time created = {};
  std::optional<Time> last_used, revoked;  // last_used: to the minute
};

// API keys. The secret is shown once, when it is made; the database holds its SHA-256. A slow password hash would gain
// nothing: the secret has 256 random bits, nobody guesses it from its hash, and every request would pay for it.
class KeyStore {
 public:
  explicit KeyStore(Database& database);  // outlives it

  struct NewKey {
    ApiKey key;
    std::string secret;  // gi_ and 43 letters and digits
  };
  // Throws ErrorKind::usage when the name is empty, longer than 100 bytes, not UTF-8, or a key in use has it.
  NewKey add(const std::string& name, const KeyLimits& limits = {});
  std::vector<ApiKey> list() const;  // revoked ones too, oldest first
  // By id or name of a key in use. Throws ErrorKind::usage when there is none.
  ApiKey revoke(const std::string& id_or_name);
  bool any() const;  // is there a key in use?

  // The key of this secret, unless it is revoked or there is none. Notes its use.
  std::optional<ApiKey> authenticate(const std::string& secret);
  // Counts one request against the key's requests_per_minute, on all servers of the database together. 0: go ahead;
  // else the seconds until the next minute.
  int64_t admit(const ApiKey& key);

 private:
  Database& database_;
};

}  // namespace glmimage::serve
