#pragma once

#include <filesystem>
#include <string>

#include "core/image.h"

namespace glmimage {

// Which weights a picture was drawn with, wherever they lie.
struct ModelIdentity {
  std::string name;  // the folder's
  std::string hash;  // SHA-256, 64 hexadecimal digits
  bool operator==(const ModelIdentity&) const = default;
};

// The folder must be a GLM-Image checkpoint with all its parts; another model is refused by its own name. Throws
// ErrorKind::checkpoint.
void check_checkpoint(const std::filesystem::path& folder);

// Of a checkpoint: its configurations and tokenizers whole, of its weights the headers and up to 1 KiB of every tensor,
// out of its middle. Reads a few megabytes, so it may be asked for on every start; two checkpoints with the same hash
// differ in no tensor's middle. Throws ErrorKind::checkpoint.
ModelIdentity identify_model(const std::filesystem::path& folder);

// Of an adapter, a file or a folder (LoraFile::open): the hash is that of the whole weights' file, as sha256sum tells
// it. Throws ErrorKind::checkpoint.
ModelIdentity identify_adapter(const std::filesystem::path& path);

// Of a picture: SHA-256 of "<width>x<height>\n" and its pixels. The same picture in another lossless file has the same.
std::string hash_picture(const Image& picture);

}  // namespace glmimage
