#include "pipeline/model_identity.h"

#include <algorithm>
#include <fstream>
#include <system_error>
#include <vector>

#include "core/error.h"
#include "core/json.h"
#include "core/part_file.h"
#include "core/safetensors.h"
#include "core/sha256.h"
#include "models/lora/file.h"

namespace glmimage {
namespace {

namespace fs = std::filesystem;

constexpr const char* kParts[] = {"processor",   "scheduler", "text_encoder",           "tokenizer",
                                  "transformer", "vae",       "vision_language_encoder"};
constexpr size_t kSampleBytes = 1024;

// Of every file by its name, so that the order of a folder does not matter.
std::vector<fs::path> files_of(const fs::path& folder) {
  std::error_code error;
  std::vector<fs::path> out;
  fs::directory_iterator it(folder, error), end;
  for (; !error && it != end; it.increment(error)) out.push_back(it->path());
  if (error) fail(ErrorKind::checkpoint, folder.string(), ": the folder cannot be read: ", error.message());
  std::sort(out.begin(), out.end());
  return out;
}

void add_whole(Sha256& hash, const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::vector<char> piece(size_t{1} << 20);
  while (in) {
    in.read(piece.data(), static_cast<std::streamsize>(piece.size()));
    hash.add(std::string_view(piece.data(), static_cast<size_t>(in.gcount())));
  }
  if (!in.eof()) fail(ErrorKind::checkpoint, file.string(), ": cannot be read");
}

void add_samples(Sha256& hash, const fs::path& path) {
  const SafetensorsFile file = SafetensorsFile::open(path);
  for (const TensorInfo& info : file.tensors()) {
    hash.add(concat(info.name, " ", safetensors_dtype_name(info.dtype)));
    for (const int64_t size : info.shape) hash.add(concat(" ", size));
    const at::Tensor tensor = file.tensor(info.name);
    const std::string_view bytes(static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes());
    const size_t count = std::min(bytes.size(), kSampleBytes);
    hash.add(concat("\n", bytes.size(), "\n"));
    hash.add(bytes.substr((bytes.size() - count) / 2, count));
  }
}

// A folder's own name, also of "." and of "dir/".
std::string own_name(const fs::path& path) {
  std::error_code error;
  const fs::path whole = fs::weakly_canonical(path, error);
  return without_trailing_slash(error ? path : whole).filename().string();
}

}  // namespace

void check_checkpoint(const fs::path& folder) {
  if (!fs::is_directory(folder)) {
    fail(ErrorKind::checkpoint, folder.string(), ": there is no such folder; --model names the folder of a checkpoint");
  }
  const JsonObject index = JsonObject::open(folder / "model_index.json");
  const std::string name = index.text("_class_name");
  if (name != "GlmImagePipeline")
    index.reject("_class_name", concat("is '", name, "'; this program draws with GlmImagePipeline"));
  for (const char* part : kParts) {
    if (!fs::is_directory(folder / part)) {
      fail(ErrorKind::checkpoint, (folder / part).string(),
           ": this part of the checkpoint is missing; an incomplete download?");
    }
  }
}

ModelIdentity identify_model(const fs::path& folder) {
  check_checkpoint(folder);
  Sha256 hash;
  for (const char* part : kParts) {
    for (const fs::path& file : files_of(folder / part)) {
      const std::string suffix = file.extension().string();
      const bool text = suffix == ".json" || suffix == ".jinja", weights = suffix == ".safetensors";
      if (!text && !weights) continue;
      hash.add(concat(part, "/", file.filename().string(), "\n"));
      text ? add_whole(hash, file) : add_samples(hash, file);
    }
  }
  return {own_name(folder), hash.hex()};
}

ModelIdentity identify_adapter(const fs::path& path) {
  Sha256 hash;
  add_whole(hash, LoraFile::open(path).path);
  return {own_name(path), hash.hex()};
}

std::string hash_picture(const Image& picture) {
  Sha256 hash;
  hash.add(concat(picture.width, "x", picture.height, "\n"));
  hash.add(std::span<const uint8_t>(picture.pixels));
  return hash.hex();
}

}  // namespace glmimage
