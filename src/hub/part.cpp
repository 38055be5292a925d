#include "hub/part.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json.h"
#include "core/part_file.h"
#include "hub/own_files.h"

namespace glmimage::hub {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

std::string reason(int error) {
  std::string text = std::strerror(error);
  if (error == ENOSPC || error == EDQUOT) text += "; is the disk (or the quota) full? What is there is kept";
  if (error == EFBIG) text += "; is there a file size limit (ulimit -f)? What is there is kept";
  return text;
}

// Which content the bytes are of.
json identity(const RemoteFile& file) {
  return {{"size", file.size}, {"sha256", file.sha256}, {"git_sha1", file.git_sha1}, {"validator", file.validator}};
}

// A note nobody understands is no error: the bytes are fetched again.
ByteRanges read_note(const fs::path& note, const fs::path& part, const RemoteFile& file) {
  ByteRanges out;
  struct stat info = {};
  if (!file.can_go_on() || ::lstat(part.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) return out;
  std::ifstream stream(note, std::ios::binary);
  const json value = json::parse(stream, nullptr, false);
  if (!value.is_object() || value.value("content", json()) != identity(file)) return out;
  const json ranges = value.value("bytes", json());
  if (!ranges.is_array()) return out;
  for (const json& range : ranges) {
    if (!range.is_array() || range.size() != 2 || !range[0].is_number_unsigned() || !range[1].is_number_unsigned()) {
      return {};
    }
    const auto begin = range[0].get<uint64_t>(), end = range[1].get<uint64_t>();
    const auto size = static_cast<uint64_t>(std::min<int64_t>(file.size, info.st_size));
    if (begin >= end || end > size) return {};
    out.add({static_cast<int64_t>(begin), static_cast<int64_t>(end)});
  }
  return out;
}

fs::path with_suffix(const fs::path& target, const char* suffix) { return target.string() + suffix; }

}  // namespace

Part::Part(fs::path target, const RemoteFile& file)
    : target_(std::move(target)),
      part_(with_suffix(target_, kPartSuffix)),
      note_(with_suffix(target_, kStateSuffix)),
      file_(file) {
  std::error_code error;
  fs::create_directories(target_.parent_path(), error);
  if (error) fail(ErrorKind::io, target_.parent_path().string(), ": the folder cannot be made: ", error.message());
  if (fs::is_directory(target_)) fail(ErrorKind::io, target_.string(), ": a folder is where the file has to be");
  there_ = read_note(note_, part_, file_);
  open();
  if (there_.count() == 0) forget();
}

Part::~Part() {
  if (fd_ >= 0) ::close(fd_);
}

int64_t Part::kept_bytes(const fs::path& target, const RemoteFile& file) {
  return read_note(with_suffix(target, kStateSuffix), with_suffix(target, kPartSuffix), file).count();
}

void Part::open() {
  fd_ = ::open(part_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
  if (fd_ < 0) fail(ErrorKind::io, part_.string(), ": cannot be written: ", reason(errno));
}

void Part::write(int64_t offset, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::pwrite(fd_, bytes.data(), bytes.size(), offset);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) {  // a write of nothing would loop for ever: take it for a full disk
      fail(ErrorKind::io, part_.string(), ": writing failed: ", reason(count < 0 ? errno : ENOSPC));
    }
    there_.add({offset, offset + count});
    news_ = true;
    bytes.remove_prefix(static_cast<size_t>(count));
    offset += count;
  }
}

void Part::save(When when) {
  const auto now = std::chrono::steady_clock::now();
  if (!news_ || !file_.can_go_on()) return;
  if (when == When::at_times && now - saved_ < std::chrono::seconds(1)) return;
  if (::fdatasync(fd_) != 0) fail(ErrorKind::io, part_.string(), ": writing to the disk failed: ", reason(errno));
  json bytes = json::array();
  for (const auto& [begin, end] : there_.ranges()) bytes.push_back({begin, end});
  write_json_file(note_, {{"content", identity(file_)}, {"bytes", bytes}});
  saved_ = std::chrono::steady_clock::now();
  news_ = false;
}

void Part::forget() {
  std::error_code ignored;
  fs::remove(note_, ignored);  // first: a note must not outlive its bytes
  if (::ftruncate(fd_, 0) != 0) fail(ErrorKind::io, part_.string(), ": cannot be emptied: ", reason(errno));
  there_ = {};
  news_ = false;
}

void Part::sync() {
  if (::fsync(fd_) != 0) fail(ErrorKind::io, part_.string(), ": writing to the disk failed: ", reason(errno));
}

void Part::commit() {
  if (::rename(part_.c_str(), target_.c_str()) != 0) {
    fail(ErrorKind::io, target_.string(), ": cannot be put into place: ", reason(errno));
  }
  sync_folder(target_.parent_path());
  std::error_code ignored;
  fs::remove(note_, ignored);
}

}  // namespace glmimage::hub
