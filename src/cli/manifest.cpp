#include "cli/manifest.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/error.h"
#include "core/json.h"
#include "core/part_file.h"
#include "core/shallow_json.h"
#include "core/terminal_text.h"

namespace glmimage::cli {
namespace {

using nlohmann::ordered_json;

constexpr const char* kHeaderField = "glm_image_manifest";
constexpr int64_t kVersion = 1;
constexpr size_t kMostLineBytes = size_t{16} << 20;  // a prompt of the greatest length, all of it escaped

std::string dump(const ordered_json& value) {
  return value.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

// Whether a line may be the beginning of one of ours, or what a power cut leaves of it: zeros.
bool is_unfinished(const std::string& line) {
  if (line.find_first_not_of('\0') == std::string::npos) return true;
  for (const std::string& begin : {concat("{\"", kHeaderField, "\":"), std::string("{\"number\":")}) {
    if (line.starts_with(begin) || begin.starts_with(line)) return true;
  }
  return false;
}

ordered_json to_json(const ManifestEntry& entry) {
  return {{"number", entry.number}, {"prompt", entry.prompt}, {"seed", entry.seed},
          {"file", entry.file},     {"bytes", entry.bytes},   {"sha256", entry.sha256},
          {"width", entry.width},   {"height", entry.height}, {"seconds", entry.seconds}};
}

ManifestEntry entry_of(const JsonObject& object) {
  ManifestEntry out;
  out.number = object.integer("number");
  out.prompt = object.text("prompt");
  if (!object.has("seed") || !object.value().at("seed").is_number_unsigned()) object.reject("seed", "is no seed");
  out.seed = object.value().at("seed").get<uint64_t>();
  out.file = object.text("file");
  out.bytes = object.integer("bytes");
  out.sha256 = object.text("sha256");
  out.width = object.integer("width");
  out.height = object.integer("height");
  out.seconds = object.number("seconds");
  return out;
}

// "steps: 20 there, 50 now", of the first field that differs.
std::string difference(const ordered_json& there, const ordered_json& now) {
  for (const auto& [name, value] : now.items()) {
    const ordered_json other = there.contains(name) ? there.at(name) : ordered_json();
    if (other != value) return concat(name, ": ", terminal_text(dump(other), 120), " there, ", dump(value), " now");
  }
  return "it has settings that this version does not know";
}

}  // namespace

// For the time of one line.
struct Manifest::AppendLock {
  explicit AppendLock(Manifest& manifest) : manifest(manifest) { manifest.lock(0, F_OFD_SETLKW); }
  ~AppendLock() { manifest.unlock(0); }
  Manifest& manifest;
};

Manifest::Manifest(const std::filesystem::path& file, const ordered_json& settings) : file_(file) {
  fd_ = ::open(file.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK, 0644);
  if (fd_ < 0) fail(ErrorKind::io, file.native(), ": the manifest cannot be written: ", std::strerror(errno));
  struct stat info = {};
  try {
    if (::fstat(fd_, &info) != 0 || !S_ISREG(info.st_mode)) {
      fail(ErrorKind::usage, file.native(), ": is no file; expected a manifest, or a name for one");
    }
    agree_on(settings);
  } catch (...) {
    ::close(fd_);
    throw;
  }
}

Manifest::~Manifest() { ::close(fd_); }

// Whoever comes first writes the settings; all others hold theirs to them.
void Manifest::agree_on(const ordered_json& settings) {
  const AppendLock lock(*this);
  read();
  if (settings_.is_null()) {
    append_line({{kHeaderField, kVersion}, {"settings", settings}});
    sync_folder(file_.parent_path());
    settings_ = settings;
  } else if (settings_ != settings) {
    fail(ErrorKind::usage, file_.native(), ": its pictures are drawn with other settings (",
         difference(settings_, settings), "); take the same, or another manifest and other files");
  }
  read_bytes_ = lines_ = unfinished_ = 0;  // the first read() of the user begins with the first line
}

std::vector<ManifestEntry> Manifest::read() {
  std::vector<ManifestEntry> out;
  std::string pending, chunk(size_t{1} << 20, '\0');
  for (int64_t at = read_bytes_;;) {
    const ssize_t count = ::pread(fd_, chunk.data(), chunk.size(), at);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail(ErrorKind::io, file_.native(), ": cannot be read: ", std::strerror(errno));
    if (count == 0) return out;  // what has no end yet is read again next time
    at += count;
    pending.append(chunk, 0, static_cast<size_t>(count));
    size_t begin = 0;
    for (size_t end; (end = pending.find('\n', begin)) != std::string::npos; begin = end + 1) {
      parse_line(pending.substr(begin, end - begin), out);
      read_bytes_ += static_cast<int64_t>(end - begin + 1);
    }
    pending.erase(0, begin);
    if (pending.size() > kMostLineBytes) {
      fail(ErrorKind::usage, file_.native(), ":", lines_ + 1, ": has more than ", kMostLineBytes,
           " bytes; is this a manifest?");
    }
  }
}

void Manifest::parse_line(const std::string& line, std::vector<ManifestEntry>& out) {
  ++lines_;
  const std::string place = concat(file_.native(), ":", lines_);
  ordered_json value = parse_shallow_json<ordered_json>(line);
  if (value.is_discarded() && is_unfinished(line)) {
    ++unfinished_;
    return;
  }
  if (!value.is_object()) {
    fail(ErrorKind::usage, place, ": is no line of a manifest: ", terminal_text(line, 60));
  }
  try {
    JsonObject object(place, "", nlohmann::json::parse(line));
    if (object.has(kHeaderField)) {
      if (object.integer(kHeaderField) != kVersion) object.reject(kHeaderField, concat("is not ", kVersion));
      if (settings_.is_null()) settings_ = value.contains("settings") ? value.at("settings") : ordered_json::object();
      return;
    }
    out.push_back(entry_of(object));
    out.back().line = lines_;
  } catch (const Error& error) {  // a checkpoint's file is what JsonObject usually reads
    fail(ErrorKind::usage, error.what(), "; is this a manifest?");
  }
}

bool Manifest::claim(int64_t number) { return lock(number, F_OFD_SETLK); }
void Manifest::release(int64_t number) { unlock(number); }

void Manifest::append(const ManifestEntry& entry) {
  const AppendLock lock(*this);
  append_line(to_json(entry));
}

void Manifest::append_line(const ordered_json& value) {
  std::string line = dump(value) + "\n";
  struct stat info = {};
  char last = '\n';
  if (::fstat(fd_, &info) != 0 || (info.st_size > 0 && ::pread(fd_, &last, 1, info.st_size - 1) != 1)) {
    fail(ErrorKind::io, file_.native(), ": cannot be read: ", std::strerror(errno));
  }
  if (last != '\n') line.insert(line.begin(), '\n');
  const ssize_t written = ::write(fd_, line.data(), line.size());
  if (written != static_cast<ssize_t>(line.size())) {
    fail(ErrorKind::io, file_.native(), ": writing a line failed after ", std::max<ssize_t>(written, 0), " of ",
         line.size(), " bytes: ", written < 0 ? std::strerror(errno) : "is the disk (or the quota) full?");
  }
  if (::fdatasync(fd_) != 0) {
    fail(ErrorKind::io, file_.native(), ": writing to the disk failed: ", std::strerror(errno));
  }
}

// Locks of an open file, not of a process: they hold between two Manifests of one process too. True where it was
// granted, or there are no locks.
bool Manifest::lock(int64_t byte, int command) {
  struct flock range = {};
  range.l_type = F_WRLCK;
  range.l_whence = SEEK_SET;
  range.l_start = byte;
  range.l_len = 1;
  while (has_locks_ && ::fcntl(fd_, command, &range) != 0) {
    if (errno == EINTR) continue;
    if (errno == EAGAIN || errno == EACCES) return false;
    has_locks_ = false;
  }
  return true;
}

void Manifest::unlock(int64_t byte) {
  struct flock range = {};
  range.l_type = F_UNLCK;
  range.l_whence = SEEK_SET;
  range.l_start = byte;
  range.l_len = 1;
  if (has_locks_) ::fcntl(fd_, F_OFD_SETLK, &range);
}

}  // namespace glmimage::cli
