#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "hub/byte_ranges.h"
#include "hub/listing.h"

namespace glmimage::hub {

// A file on its way: its bytes in NAME.part, at their places, and in NAME.part.json which of them are there and of
// which content. Both outlive the process: the next Part of the same content goes on with them, one of another content
// begins anew. All faults of the disk throw ErrorKind::io naming the file and the system's reason.
class Part {
 public:
  // Makes the folders of `target`. What another content, or nothing that can be told apart, left there is emptied.
  Part(std::filesystem::path target, const RemoteFile& file);
  ~Part();
  Part(const Part&) = delete;
  Part& operator=(const Part&) = delete;

  // How many bytes of this content are there already, without touching anything.
  static int64_t kept_bytes(const std::filesystem::path& target, const RemoteFile& file);

  const ByteRanges& there() const { return there_; }
  void write(int64_t offset, std::string_view bytes);
  // Bytes first, then the note of them: after a power cut the note never says more than the disk has. At most once a
  // second unless `now`; does nothing without news.
  enum class When { at_times, now };
  void save(When when);
  void forget();  // all bytes
  void sync();    // to the disk; may be called from another thread while nobody else uses this Part
  const std::filesystem::path& path() const { return part_; }
  void commit();  // under its own name, the note removed; after sync()

 private:
  void open();

  std::filesystem::path target_, part_, note_;
  RemoteFile file_;
  ByteRanges there_;
  int fd_ = -1;
  bool news_ = false;
  std::chrono::steady_clock::time_point saved_;
};

}  // namespace glmimage::hub
