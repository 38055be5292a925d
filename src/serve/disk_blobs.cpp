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

void make_folder(const fs::path& folder) {
  std::error_code error;
  if (fs::create_directories(folder, error) && folder.has_parent_path()) sync_folder(folder.parent_path());
  if (error) fail(ErrorKind::io, folder.string(), ": the folder cannot be made: ", error.message());
}

class DiskBlobs : public BlobBackend {
 public:
  explicit DiskBlobs(fs::path folder) : folder_(std::move(folder)), incoming_(folder_ / "incoming") {
    make_folder(incoming_);
    ::chmod(folder_.c_str(), 0700);  // pictures are their owners'
    remove_leftovers();
  }

  // Written under a name of its own first, as the same bytes may arrive twice at the same time.
  void put(const std::string& hash, std::string_view bytes) override {
    const fs::path target = place(hash), draft = incoming_ / unique_id();
    make_folder(target.parent_path());
    PartFile file(draft);
    file.write(bytes.data(), bytes.size());
    file.commit();
    if (::rename(draft.c_str(), target.c_str()) != 0) {
      const int error = errno;
      ::unlink(draft.c_str());
      fail(ErrorKind::io, target.string(), ": cannot be put into place: ", std::strerror(error));
    }
    sync_folder(target.parent_path());
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
  fs::path place(const std::string& hash) const { return folder_ / hash.substr(0, 2) / hash.substr(2, 2) / hash; }

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
