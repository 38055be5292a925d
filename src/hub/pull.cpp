#include "hub/pull.h"

#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <map>

#include "core/error.h"
#include "core/listing.h"
#include "hub/digest.h"
#include "hub/file_names.h"
#include "hub/folder_lock.h"
#include "hub/part.h"
#include "hub/pulled.h"

namespace glmimage::hub {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using Clock = std::chrono::steady_clock;

// Sizes that add up to more than any disk are not worth a question to this one; sums stay far from overflow.
constexpr int64_t kMostBytes = int64_t{1} << 53;

void choose(Listing& listing, const PullOptions& options) {
  std::vector<std::string> names;
  for (const RemoteFile& file : listing.files) names.push_back(file.name);
  check_file_names(names);
  std::erase_if(listing.files, [&](const RemoteFile& file) {
    return (!options.include.empty() && !matches(file.name, options.include)) || matches(file.name, options.exclude);
  });
  if (listing.files.empty()) {
    fail(ErrorKind::usage, listing.place,
         ": no file fits --include and --exclude; there are: ", names.empty() ? "none" : listed(names));
  }
  int64_t sum = 0;
  for (const RemoteFile& file : listing.files) {
    if (file.size > kMostBytes || (sum += std::max<int64_t>(file.size, 0)) > kMostBytes) {
      fail(ErrorKind::io, listing.place, ": the sizes that are listed are absurd ('", file.name, "': ", file.size,
           " bytes)");
    }
  }
}

// Which of the files are there with the listed content, by note or by reading them.
class Inventory {
 public:
  Inventory(const PullOptions& options, PullProgress& progress, Pulled& pulled)
      : options_(options), progress_(progress), pulled_(pulled) {}

  std::vector<PulledFile> take(const Listing& listing) {
    std::vector<PulledFile> out;
    status_.phase = PullPhase::check;
    status_.files = static_cast<int64_t>(listing.files.size());
    for (const RemoteFile& file : listing.files) {
      PulledFile& found = out.emplace_back(PulledFile{.file = file});
      if (is_there(file)) {
        found.state = FileState::there;
        pulled_.add(file);
      } else {
        found.resumed = Part::kept_bytes(options_.folder / file.name, file);
      }
      ++status_.files_done;
    }
    return out;
  }

 private:
  bool is_there(const RemoteFile& file) {
    if (pulled_.has(file)) return true;
    const fs::path path = options_.folder / file.name;
    struct stat info = {};
    if (!file.has_digest() || ::stat(path.c_str(), &info) != 0) return false;
    if (!S_ISREG(info.st_mode) || info.st_size != file.size) return false;
    progress_.report(status_);
    const bool git = file.sha256.empty();
    const std::string digest =
        file_digest(path, git ? DigestKind::git_sha1 : DigestKind::sha256, [this] { return progress_.cancelled(); });
    return digest == (git ? file.git_sha1 : file.sha256);
  }

  const PullOptions& options_;
  PullProgress& progress_;
  Pulled& pulled_;
  PullStatus status_;
};

// Before the first byte is fetched.
void check_room(const PullReport& report) {
  fs::path folder = fs::absolute(report.folder);
  std::error_code error;
  while (!fs::exists(folder, error) && folder.has_relative_path()) folder = folder.parent_path();
  const fs::space_info space = fs::space(folder, error);
  if (error) return;  // a file system that does not say; writing will tell
  const int64_t needed = report.missing_bytes();
  if (static_cast<uint64_t>(needed) > space.available) {
    fail(ErrorKind::io, report.folder.string(), ": ", needed, " bytes are to be fetched, and the disk has room for ",
         space.available, "; another folder, or fewer files (--include, --exclude)?");
  }
}

int64_t kept_bytes(const PullReport& report) {
  int64_t sum = 0;
  for (const PulledFile& file : report.files) {
    const bool whole = file.state != FileState::missing;
    sum += whole ? file.file.size : Part::kept_bytes(report.folder / file.file.name, file.file);
  }
  return sum;
}

// What the user may do after a pull that did not end well.
Error with_way_on(const Error& error, const PullReport& report) {
  if (error.kind() != ErrorKind::cancelled && error.kind() != ErrorKind::io) return error;
  const int64_t kept = kept_bytes(report);
  const std::string so_far = concat(kept, " of ", report.bytes(), " bytes are kept in ", report.folder.string());
  if (error.kind() == ErrorKind::cancelled) {
    return {ErrorKind::cancelled, concat("cancelled; ", so_far, "; the same command goes on from there")};
  }
  if (kept == 0) return error;
  return {ErrorKind::io, concat(error.what(), " (", so_far, "; the same command goes on from there)")};
}

void fetch_missing(HttpClient& client, const PullOptions& options, PullProgress& progress, Pulled& pulled,
                   PullReport& report) {
  FetchTask task{.folder = options.folder, .files = {}, .commit = report.listing.commit};
  std::map<std::string, PulledFile*> missing;  // by name
  for (PulledFile& file : report.files) {
    if (file.state != FileState::missing) continue;
    task.files.push_back(file.file);
    missing[file.file.name] = &file;
  }
  auto written = Clock::now();
  fetch_files(client, options.source, task, options.fetch, progress, [&](const FetchedFile& fetched) {
    *missing.at(fetched.file.name) = {
        .file = fetched.file, .state = FileState::fetched, .fetched = fetched.fetched, .resumed = fetched.resumed};
    pulled.add(fetched.file);
    if (Clock::now() - written < std::chrono::seconds(1)) return;  // of many small files not each is worth a write
    pulled.write();
    written = Clock::now();
  });
}

void fill_folder(HttpClient& client, const PullOptions& options, PullProgress& progress, PullReport& report) {
  const FolderLock lock(options.folder);
  Pulled pulled = Pulled::open(options.folder);
  pulled.set_place(report.listing);
  pulled.complete = false;
  report.files = Inventory(options, progress, pulled).take(report.listing);
  check_room(report);
  pulled.write();
  try {
    fetch_missing(client, options, progress, pulled, report);
  } catch (const Error& error) {
    try {
      pulled.write();
    } catch (const Error&) {  // a full disk, most likely; the files will be read again next time
    }
    throw with_way_on(error, report);
  }
  pulled.complete = true;
  pulled.write();
}

}  // namespace

int64_t PullReport::bytes() const {
  int64_t sum = 0;
  for (const PulledFile& file : files) sum += std::max<int64_t>(file.file.size, 0);
  return sum;
}

int64_t PullReport::missing_bytes() const {
  int64_t sum = 0;
  for (const PulledFile& file : files) {
    if (file.state == FileState::missing) sum += std::max<int64_t>(file.file.size - file.resumed, 0);
  }
  return sum;
}

int64_t PullReport::fetched_bytes() const {
  int64_t sum = 0;
  for (const PulledFile& file : files) sum += file.fetched;
  return sum;
}

json PullReport::to_json() const {
  json out = {{"source", listing.source}, {"address", listing.place}, {"path", folder.string()}, {"dry_run", dry_run},
              {"bytes", bytes()},         {"seconds", seconds},       {"files", json::array()}};
  if (!listing.revision.empty()) out["revision"] = listing.revision;
  if (!listing.commit.empty()) out["commit"] = listing.commit;
  out[dry_run ? "missing_bytes" : "fetched_bytes"] = dry_run ? missing_bytes() : fetched_bytes();
  for (const PulledFile& file : files) {
    const char* names[] = {"missing", "there", "fetched"};
    const char* state = names[static_cast<int>(file.state)];
    json entry = {{"name", file.file.name},
                  {"size", file.file.size},
                  {"state", state},
                  {"fetched_bytes", file.fetched},
                  {"resumed_bytes", file.resumed}};
    if (file.file.size < 0) entry["size"] = nullptr;
    if (!file.file.sha256.empty()) entry["sha256"] = file.file.sha256;
    if (!file.file.git_sha1.empty()) entry["git_sha1"] = file.file.git_sha1;
    out["files"].push_back(std::move(entry));
  }
  return out;
}

PullReport pull(const PullOptions& options, PullProgress& progress) {
  const auto began = Clock::now();
  if (!options.source.warning.empty()) progress.note(options.source.warning);
  PullReport report;
  report.folder = options.folder;
  report.dry_run = options.dry_run;
  HttpOptions http = options.http;
  http.connections = options.fetch.parallel;
  HttpClient client(http);
  progress.report({.phase = PullPhase::list});
  report.listing = list_files(client, options.source, options.fetch.retries, [&] { return progress.cancelled(); });
  choose(report.listing, options);
  if (options.dry_run) {
    Pulled pulled = Pulled::open(options.folder);
    report.files = Inventory(options, progress, pulled).take(report.listing);
    check_room(report);
  } else {
    fill_folder(client, options, progress, report);
  }
  report.seconds = std::chrono::duration<double>(Clock::now() - began).count();
  return report;
}

}  // namespace glmimage::hub
