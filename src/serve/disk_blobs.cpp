#include <sys/stat.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "core/error.h"
#include "core/part_file.h"
#include "serve/blob_store.h"
#include "serve/unique_id.h"

namespace glmimage::serve {
namespace {

namespace fs = std::filesystem;

// True: it was not there before.
bool make_folder(const fs::path& folder) {
  std::error_code error;
  const bool made = fs::create_directories(folder, error);
  if (error) fail(ErrorKind::io, folder.string(), ": the folder cannot be made: ", error.message());
  return made;
}

// The first two letters of a hash: "00" to "ff".
std::string prefix(int number) {
  constexpr const char* kDigits = "0123456789abcdef";
  return {kDigits[number / 16], kDigits[number % 16]};
}

class DiskBlobs : public BlobBackend {
 public:
  explicit DiskBlobs(fs::path folder) : folder_(std::move(folder)), incoming_(folder_ / "incoming") {
    bool made = make_folder(incoming_);
    // Now, so that a picture's way to the disk is two syncs, of its bytes and of its name.
    for (int i = 0; i < 256; ++i) made = make_folder(folder_ / prefix(i)) || made;
    if (made) {
      sync_folder(folder_);
      sync_folder(fs::absolute(folder_).parent_path());
    }
    ::chmod(folder_.c_str(), 0700);  // pictures are their owners'
    remove_leftovers();
  }

  // Written under a name of its own first, as the same bytes may arrive twice at the same time.
  void put(const std::string& hash, std::string_view bytes) override {
    PartFile file(place(hash), incoming_ / unique_id());
    file.write(bytes.data(), bytes.size());
    file.commit();
  }

  std::optional<std::string> get(const std::string& hash) override {
    const fs::path file = place(hash);
    std::ifstream in(file, std::ios::binary);
    if (!in) {
      if (errno == ENOENT) return {};
      fail(ErrorKind::io, file.string(), ": cannot be read: ", std::strerror(errno));
    }
    std::string bytes{std::istreambuf_iterator<char>(in), {}};
    if (in.bad()) fail(ErrorKind::io, file.string(), ": reading failed: is the disk broken?");
    return bytes;
  }

  bool contains(const std::string& hash, int64_t bytes) override {
    std::error_code error;
    const uintmax_t size = fs::file_size(place(hash), error);
    return !error && size == static_cast<uintmax_t>(bytes);
  }

  void remove(const std::string& hash) override {
    std::error_code error;
    fs::remove(place(hash), error);
    if (error) fail(ErrorKind::io, place(hash).string(), ": cannot be removed: ", error.message());
  }

  std::string describe() const override { return folder_.string(); }

 private:
  fs::path place(const std::string& hash) const { return folder_ / hash.substr(0, 2) / hash; }

  // Of processes that were killed while they wrote. A day: another server may be writing in the same folder.
  void remove_leftovers() const {
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(incoming_, ignored)) {
      const auto age = fs::file_time_type::clock::now() - fs::last_write_time(entry, ignored);
      if (age > std::chrono::hours(24)) fs::remove(entry, ignored);
    }
  }

  fs::path folder_, incoming_;
};

}  // namespace

std::unique_ptr<BlobBackend> open_disk_blobs(const std::string& folder) { return std::make_unique<DiskBlobs>(folder); }

}  // namespace glmimage::serve
