#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace glmimage {

// SHA-256 of bytes that come piece by piece (OpenSSL's).
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;

  void add(std::span<const uint8_t> bytes);
  void add(std::string_view text);
  std::string hex();  // 64 lower case digits; begins anew

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Of one piece, as 64 lower case hexadecimal digits.
std::string sha256_hex(std::span<const uint8_t> bytes);
std::string sha256_hex(std::string_view text);

}  // namespace glmimage
