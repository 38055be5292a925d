#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace glmimage::cli {

// One finished picture of a list.
struct ManifestEntry {
  int64_t number = 0;  // its place in the list, from 1
  std::string prompt = {};
  uint64_t seed = 0;
  std::string file = {};  // from the manifest's folder
  int64_t bytes = 0;
  std::string sha256 = {};  // of the file
  int64_t width = 0, height = 0;
  double seconds = 0;  // of drawing it
  int64_t line = 0;    // in the manifest; 0: not read from it
};

// What became of the pictures of a list: a file of JSON lines, to which several processes, on several machines with a
// common file system, append at the same time. The first line, {"glm_image_manifest": 1, "settings": {…}}, says what
// all pictures share; each other is a picture, written when its file is on the disk. A line that a killed process or a
// power cut left unfinished is passed over, and what comes next begins a line of its own.
//
// Which pictures are being drawn is told by locks on the file's bytes (byte `number` for a picture, byte 0 for
// appending), which the system takes back when a process ends, however it ends. Where the file system has no locks
// every claim is granted; lines still come whole, as each is one write to the file's end.
//
// Faults throw ErrorKind::io naming the file, and ErrorKind::usage for a file that is no manifest.
class Manifest {
 public:
  // Opens or makes it. Throws ErrorKind::usage naming the first setting that differs from those in the file.
  Manifest(const std::filesystem::path& file, const nlohmann::ordered_json& settings);
  ~Manifest();
  Manifest(const Manifest&) = delete;
  Manifest& operator=(const Manifest&) = delete;

  // What was appended since the last call, by whomever; at first everything. A picture drawn again has a later entry.
  std::vector<ManifestEntry> read();
  // The right to draw a picture, for one process at a time; false: another has it.
  bool claim(int64_t number);
  void release(int64_t number);
  // The line is on the disk when the call returns.
  void append(const ManifestEntry& entry);

  const std::filesystem::path& file() const { return file_; }
  bool has_locks() const { return has_locks_; }
  // Lines that were passed over so far.
  int64_t unfinished_lines() const { return unfinished_; }

 private:
  struct AppendLock;
  void agree_on(const nlohmann::ordered_json& settings);
  void append_line(const nlohmann::ordered_json& value);
  void parse_line(const std::string& line, std::vector<ManifestEntry>& out);
  bool lock(int64_t byte, int command);
  void unlock(int64_t byte);

  std::filesystem::path file_;
  int fd_ = -1;
  bool has_locks_ = true;
  int64_t read_bytes_ = 0, lines_ = 0, unfinished_ = 0;
  nlohmann::ordered_json settings_;  // null until read
};

}  // namespace glmimage::cli
