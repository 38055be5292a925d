#include "train/watch/event_file.h"

#include <unistd.h>

#include <array>
#include <bit>
#include <chrono>

#include "core/encode_image.h"
#include "core/error.h"

namespace glmimage::train {
namespace fs = std::filesystem;

namespace {

// A message in protocol buffers' wire format, field by field.
struct Message {
  std::string bytes;

  void varint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes += static_cast<char>(value | 0x80);
    bytes += static_cast<char>(value);
  }
  void key(uint32_t field, uint32_t wire_type) { varint(field << 3 | wire_type); }
  template <typename Word>
  void fixed(Word value) {
    for (size_t i = 0; i < sizeof value; ++i) bytes += static_cast<char>(value >> (8 * i));
  }

  Message& number(uint32_t field, int64_t value) {
    key(field, 0);
    varint(static_cast<uint64_t>(value));
    return *this;
  }
  Message& real(uint32_t field, double value) {
    key(field, 1);
    fixed(std::bit_cast<uint64_t>(value));
    return *this;
  }
  Message& real32(uint32_t field, float value) {
    key(field, 5);
    fixed(std::bit_cast<uint32_t>(value));
    return *this;
  }
  Message& text(uint32_t field, const std::string& value) {
    key(field, 2);
    varint(value.size());
    bytes += value;
    return *this;
  }
};

// Event { double wall_time = 1; int64 step = 2; … }
Message event(int64_t step) {
  const double now = std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  return Message().real(1, now).number(2, step);
}

uint32_t masked_crc(std::string_view bytes) { return std::rotr(crc32c(bytes), 15) + 0xa282ead8u; }

// A name nobody has: a start within the same second as another gets the next one.
fs::path free_name(const fs::path& folder) {
  char host[256] = "localhost";
  if (::gethostname(host, sizeof host) != 0 || host[0] == '\0') return folder / "events.out.tfevents";
  host[sizeof host - 1] = '\0';
  auto seconds =
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  for (;; ++seconds) {
    const fs::path name = folder / concat("events.out.tfevents.", seconds, ".", host);
    if (!fs::exists(name)) return name;
  }
}

}  // namespace

uint32_t crc32c(std::string_view bytes) {
  static const std::array<uint32_t, 256> table = [] {
    std::array<uint32_t, 256> out{};
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t value = i;
      for (int bit = 0; bit < 8; ++bit) value = value >> 1 ^ (value & 1 ? 0x82f63b78u : 0);
      out[i] = value;
    }
    return out;
  }();
  uint32_t crc = ~0u;
  for (const char byte : bytes) crc = crc >> 8 ^ table[(crc ^ static_cast<uint8_t>(byte)) & 0xff];
  return ~crc;
}

EventFile::EventFile(const fs::path& folder, int64_t first_step) : path_(free_name(folder)) {
  out_.open(path_, std::ios::binary);
  if (!out_) fail(ErrorKind::io, path_.string(), ": cannot be written");
  write(event(0).text(3, "brain.Event:2").bytes);  // file_version
  // SessionLog { SessionStatus status = 1; }, START = 1
  if (first_step > 0) write(event(first_step).text(7, Message().number(1, 1).bytes).bytes);
}

void EventFile::write(const std::string& data) {
  Message length, checks[2];
  length.fixed(uint64_t{data.size()});
  checks[0].fixed(masked_crc(length.bytes));
  checks[1].fixed(masked_crc(data));
  out_ << length.bytes << checks[0].bytes << data << checks[1].bytes << std::flush;
}

// Summary { repeated Value value = 1; }, Value { string tag = 1; float simple_value = 2; Image image = 4; }
void EventFile::scalars(int64_t step, const std::vector<std::pair<std::string, double>>& values) {
  if (values.empty()) return;
  Message summary;
  for (const auto& [tag, value] : values) {
    summary.text(1, Message().text(1, tag).real32(2, static_cast<float>(value)).bytes);
  }
  write(event(step).text(5, summary.bytes).bytes);
}

// Image { int32 height = 1; int32 width = 2; int32 colorspace = 3; bytes encoded_image_string = 4; }
void EventFile::image(int64_t step, const std::string& tag, const Image& image) {
  constexpr int64_t kRgb = 3;
  const std::vector<uint8_t> png = encode_image(image);
  const Message picture = Message()
                              .number(1, image.height)
                              .number(2, image.width)
                              .number(3, kRgb)
                              .text(4, {reinterpret_cast<const char*>(png.data()), png.size()});
  const Message value = Message().text(1, tag).text(4, picture.bytes);
  write(event(step).text(5, Message().text(1, value.bytes).bytes).bytes);
}

}  // namespace glmimage::train
