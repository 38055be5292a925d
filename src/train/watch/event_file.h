#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/image.h"

namespace glmimage::train {

// CRC-32C (Castagnoli; RFC 3720, appendix B.4).
uint32_t crc32c(std::string_view bytes);

// A file of events that TensorBoard reads, events.out.tfevents.<time>.<host>: TFRecords (length, masked CRC-32C of it,
// data, masked CRC-32C of them) of `Event` messages in protocol buffers' wire format
// (tensorflow/core/util/event.proto, tensorflow/core/framework/summary.proto).
class EventFile {
 public:
  // A new file in `folder`. With first_step > 0 it tells TensorBoard to forget what other files say of later steps.
  // Throws ErrorKind::io when it cannot be made. A disk that fills up later costs the events, not the training.
  EventFile(const std::filesystem::path& folder, int64_t first_step);

  void scalars(int64_t step, const std::vector<std::pair<std::string, double>>& values);
  void image(int64_t step, const std::string& tag, const Image& image);
  const std::filesystem::path& path() const { return path_; }

 private:
  void write(const std::string& event);
  std::filesystem::path path_;
  std::ofstream out_;
};

}  // namespace glmimage::train
