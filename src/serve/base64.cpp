#include "serve/base64.h"

#include <openssl/evp.h>

#include <algorithm>
#include <climits>

namespace glmimage::serve {

std::string encode_base64(std::string_view bytes) {
  constexpr size_t kBlock = size_t{3} << 20;              // OpenSSL counts in int
  std::string out((bytes.size() + 2) / 3 * 4 + 1, '\0');  // it ends what it writes with a zero
  size_t written = 0;
  for (size_t at = 0; at < bytes.size(); at += kBlock) {
    const std::string_view block = bytes.substr(at, kBlock);
    written += static_cast<size_t>(EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data() + written),
                                                   reinterpret_cast<const unsigned char*>(block.data()),
                                                   static_cast<int>(block.size())));
  }
  out.resize(written);
  return out;
}

std::optional<std::string> decode_base64(std::string_view text) {
  if (text.size() > INT_MAX) return std::nullopt;
  std::string clean(text);
  std::erase_if(clean, [](char c) { return c == '\r' || c == '\n'; });
  while (!clean.empty() && clean.back() == '=' && (clean.size() % 4 == 0 || clean.size() % 4 == 3)) clean.pop_back();
  const auto is_digit = [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/';
  };
  if (clean.size() % 4 == 1 || !std::all_of(clean.begin(), clean.end(), is_digit)) return std::nullopt;
  const size_t padding = (4 - clean.size() % 4) % 4;
  clean.append(padding, '=');
  std::string out(clean.size() / 4 * 3, '\0');
  const int count =
      EVP_DecodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                      reinterpret_cast<const unsigned char*>(clean.data()), static_cast<int>(clean.size()));
  if (count < 0) return std::nullopt;
  out.resize(static_cast<size_t>(count) - padding);
  return out;
}

}  // namespace glmimage::serve
