#include "serve/blob_store.h"

#include <algorithm>

#include "core/error.h"
#include "core/sha256.h"

namespace glmimage::serve {
namespace {

bool is_hash(const std::string& text) {
  return text.size() == 64 &&
         std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

}  // namespace

std::unique_ptr<BlobBackend> open_blobs(const std::string& where) {
  return where.starts_with("s3://") ? open_s3_blobs(S3Options::from_environment(where)) : open_disk_blobs(where);
}

BlobStore::BlobStore(Database& database, BlobBackend& backend) : database_(database), backend_(backend) {}

// The row comes first: bytes without one would stay for ever. While the row is young, or a job refers to it, nobody
// removes the bytes; and whoever removes them holds the row, so this waits for it and then writes them again. The row
// need not be on the disk yet: the transaction that refers to it will bring both there.
std::string BlobStore::put(std::string_view bytes) {
  const std::string hash = sha256_hex(bytes);
  const int64_t size = static_cast<int64_t>(bytes.size());
  database_.transaction(Access::relaxed, [&](Connection& c) {
    c.run(
        "INSERT INTO blobs (hash, bytes, touched) VALUES ($1, $2, $now) "
        "ON CONFLICT (hash) DO UPDATE SET touched = excluded.touched",
        {hash, size});
  });
  if (!backend_.contains(hash, size)) backend_.put(hash, bytes);
  return hash;
}

std::optional<std::string> BlobStore::get(const std::string& hash) const {
  if (!is_hash(hash)) return {};
  std::optional<std::string> bytes = backend_.get(hash);
  if (bytes && sha256_hex(*bytes) != hash) {
    fail(ErrorKind::io, backend_.describe(), ": the blob ", hash,
         " holds other bytes than were stored: ", "is the disk broken?");
  }
  return bytes;
}

int64_t BlobStore::collect_garbage(std::chrono::milliseconds grace) {
  constexpr const char* kUnused =
      "touched < $now - $1 AND NOT EXISTS (SELECT 1 FROM blob_uses WHERE blob_uses.blob = blobs.hash)";
  const SqlRows found = database_.transaction(Access::read, [&](Connection& c) {
    return c.run(concat("SELECT hash FROM blobs WHERE ", kUnused), {grace.count()});
  });
  int64_t removed = 0;
  for (const SqlRow& row : found) {
    const std::string hash = row.text(0);
    // One blob a transaction: others wait for its row no longer than a removal takes. The bytes go while the row is
    // held; a crash in between leaves a row without bytes, which put mends and the next turn removes.
    removed += database_.transaction(Access::relaxed, [&](Connection& c) {
      if (c.run("SELECT hash FROM blobs WHERE hash = $1 $skip_locked", {hash}).empty()) return int64_t{0};
      if (c.run(concat("SELECT 1 FROM blobs WHERE ", kUnused, " AND hash = $2"), {grace.count(), hash}).empty()) {
        return int64_t{0};
      }
      backend_.remove(hash);
      c.run("DELETE FROM blobs WHERE hash = $1", {hash});
      return int64_t{1};
    });
  }
  return removed;
}

int64_t BlobStore::bytes() const {
  return database_.transaction(
      Access::read, [](Connection& c) { return c.run("SELECT COALESCE(SUM(bytes), 0) FROM blobs")[0].integer(0); });
}

}  // namespace glmimage::serve
