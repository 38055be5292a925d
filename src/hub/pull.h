#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "hub/fetch.h"
#include "hub/http.h"
#include "hub/progress.h"
#include "hub/source.h"

namespace glmimage::hub {

struct PullOptions {
  Source source;
  std::filesystem::path folder;
  std::vector<std::string> include, exclude;  // patterns; no include: all files
  bool dry_run = false;                       // look, fetch and write nothing
  HttpOptions http;                           // connections: as many as transfers
  FetchOptions fetch;
};

enum class FileState { missing, there, fetched };  // there: before this run

struct PulledFile {
  RemoteFile file;
  FileState state = FileState::missing;
  int64_t fetched = 0, resumed = 0;  // bytes: that came in this run, that an earlier one had left
};

struct PullReport {
  Listing listing;  // its files: those that were chosen
  std::filesystem::path folder;
  std::vector<PulledFile> files;
  bool dry_run = false;
  double seconds = 0;

  int64_t bytes() const;          // of all files; unknown sizes count nothing
  int64_t missing_bytes() const;  // of a dry run: what would be fetched
  int64_t fetched_bytes() const;
  nlohmann::json to_json() const;
};

// Brings the files of a source into a folder. A file is there under its name only when it is whole and has the digest
// its hub lists; what is there already is not fetched again; what an earlier pull left half-way goes on. Asks first
// whether the disk has room. One pull at a time in a folder.
// Throws ErrorKind::usage for what is not there or not allowed, patterns that no file fits; ErrorKind::io for faults of
// network, servers and disk; ErrorKind::cancelled. After either of the last two the same pull goes on.
PullReport pull(const PullOptions& options, PullProgress& progress);

}  // namespace glmimage::hub
