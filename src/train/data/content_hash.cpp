#include "train/data/content_hash.h"

#include <algorithm>
#include <cstdio>

#include "core/error.h"
#include "core/weight_files.h"

namespace glmimage::train {
namespace {

void add_samples(ByteHash& hash, const char* bytes, size_t size) {
  constexpr size_t kWhole = size_t{1} << 20, kPiece = size_t{1} << 16, kPieces = 16;
  if (size <= kWhole) return hash.add(bytes, size);
  for (size_t i = 0; i < kPieces; ++i) hash.add(bytes + (size - kPiece) / (kPieces - 1) * i, kPiece);
  hash.add(bytes + size - kPiece, kPiece);  // the division rounds: the last bytes are surely among them
}

}  // namespace

TextHash hash_text(std::string_view text) {
  ByteHash first(1), second(2);
  first.add(text);
  second.add(text);
  return {first.value(), second.value()};
}

std::string hex(uint64_t value) {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(value));
  return text;
}

std::string hex(const TextHash& hash) { return hex(hash[0]) + hex(hash[1]); }

std::string hash_weights(const std::filesystem::path& folder, const std::vector<std::string>& prefixes) {
  const WeightFiles files = WeightFiles::open(folder);
  ByteHash hash;
  for (const std::string& name : files.names()) {
    const auto begins = [&](const std::string& prefix) { return name.starts_with(prefix); };
    if (!prefixes.empty() && std::none_of(prefixes.begin(), prefixes.end(), begins)) continue;
    const TensorInfo& info = files.info(name);
    hash.add(concat(name, " ", safetensors_dtype_name(info.dtype)));
    hash.add(info.shape.data(), info.shape.size() * sizeof(int64_t));
    const at::Tensor tensor = files.tensor(name);
    add_samples(hash, static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes());
    files.release(name);
  }
  return hex(hash.value());
}

}  // namespace glmimage::train
