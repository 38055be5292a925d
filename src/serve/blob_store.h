#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/certificate_trust.h"
#include "serve/database/database.h"

namespace glmimage::serve {

// Where the bytes are. Objects are named by their SHA-256 (core/sha256.h) and never change. Threads share it. All
// functions throw ErrorKind::io when the disk or the network refuses.
class BlobBackend {
 public:
  virtual ~BlobBackend() = default;
  virtual void put(const std::string& hash, std::string_view bytes) = 0;  // whole or not at all, on the disk
  virtual std::optional<std::string> get(const std::string& hash) = 0;    // unset: not there; unverified
  virtual bool contains(const std::string& hash, int64_t bytes) = 0;      // with this length
  virtual void remove(const std::string& hash) = 0;                       // also when it is not there
  virtual std::string describe() const = 0;                               // for logs; no secrets
};

// <folder>/ab/abcd…: synced, renamed into place. Throws ErrorKind::io when the folder cannot be made.
std::unique_ptr<BlobBackend> open_disk_blobs(const std::string& folder);

// An S3-compatible service, path style. Signed with AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN.
struct S3Options {
  std::string endpoint;  // https://host[:port]
  std::string bucket;
  std::string prefix;  // of object names, e.g. "glm-image/"
  std::string region = "us-east-1";
  std::string access_key, secret_key, session_token;
  std::chrono::milliseconds timeout = std::chrono::seconds(60);  // of one request without any progress
  CertificateTrust trust = {};
  int retries = 3;                                                   // after a lost connection, 429, 500, 503
  std::chrono::milliseconds pause = std::chrono::milliseconds(200);  // before the first, then twice as long each
  // s3://bucket[/prefix] with GLM_IMAGE_S3_ENDPOINT, AWS_REGION and the keys from the environment. Throws
  // ErrorKind::usage naming what is missing.
  static S3Options from_environment(const std::string& where);
};
std::unique_ptr<BlobBackend> open_s3_blobs(S3Options options);

// "s3://…" or a folder.
std::unique_ptr<BlobBackend> open_blobs(const std::string& where);

// Pictures by content: results of jobs, pictures to edit, partial pictures. The database knows each blob, so that what
// no job refers to is found and removed, and removal never races an accepted job.
class BlobStore {
 public:
  BlobStore(Database& database, BlobBackend& backend);  // both outlive it

  // Stores the bytes and returns their hash; bytes that are there already are not written again. A blob no job refers
  // to stays for collect_garbage's grace time. Throws ErrorKind::io; then nothing is left under the name.
  std::string put(std::string_view bytes);
  // Unset: not there, or `hash` is no hash. Throws ErrorKind::io also when the bytes are not those of the hash (a
  // broken disk).
  std::optional<std::string> get(const std::string& hash) const;
  // Removes blobs that no job refers to and nobody put within `grace`. Safe beside put and submit, in any process.
  // Returns how many.
  int64_t collect_garbage(std::chrono::milliseconds grace);
  int64_t bytes() const;  // of all blobs
  std::string describe() const { return backend_.describe(); }

 private:
  Database& database_;
  BlobBackend& backend_;
};

}  // namespace glmimage::serve
