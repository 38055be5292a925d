#include "serve/unique_id.h"

#include <openssl/rand.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <mutex>
#include <vector>

#include "core/error.h"

namespace glmimage::serve {
namespace {

void fill_random(unsigned char* bytes, size_t count) {
  if (RAND_bytes(bytes, static_cast<int>(count)) != 1) {
    fail(ErrorKind::internal, "the operating system gave no random numbers");
  }
}

// Milliseconds and a counter in one number that only grows: of equal milliseconds the counter tells, and a clock that
// was set back is waited for by counting on.
uint64_t next_tick() {
  static std::mutex mutex;
  static uint64_t last = 0;
  const auto now = std::chrono::time_point_cast<std::chrono::milliseconds>(std::chrono::system_clock::now());
  const uint64_t tick = static_cast<uint64_t>(now.time_since_epoch().count()) << 12;
  const std::lock_guard lock(mutex);
  last = tick > last ? tick : last + 1;
  return last;
}

}  // namespace

std::string unique_id() {
  const uint64_t tick = next_tick();
  std::array<unsigned char, 8> random;
  fill_random(random.data(), random.size());
  random[0] = static_cast<unsigned char>((random[0] & 0x3f) | 0x80);  // the variant
  char text[64];
  std::snprintf(text, sizeof text, "%08llx-%04llx-7%03llx-%02x%02x-%02x%02x%02x%02x%02x%02x",
                static_cast<unsigned long long>(tick >> 28), static_cast<unsigned long long>(tick >> 12 & 0xffff),
                static_cast<unsigned long long>(tick & 0xfff), random[0], random[1], random[2], random[3], random[4],
                random[5], random[6], random[7]);
  return text;
}

std::string random_text(size_t bytes) {
  static constexpr char kDigits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  std::vector<unsigned char> number(bytes);
  fill_random(number.data(), bytes);
  // Long division by 62. As many digits as the largest number of that many bytes has, so the length tells nothing.
  const size_t digits = (bytes * 8 * 1000 + 5953) / 5954;  // log2(62) = 5.954…
  std::string text(digits, '0');
  for (char& digit : text) {
    unsigned rest = 0;
    for (unsigned char& byte : number) {
      rest = rest * 256 + byte;
      byte = static_cast<unsigned char>(rest / 62);
      rest %= 62;
    }
    digit = kDigits[rest];
  }
  return text;
}

}  // namespace glmimage::serve
