#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "core/safetensors.h"

namespace glmimage {

// The weights of one part of a checkpoint: a folder with one safetensors file, or shards with an index
// ("model*.safetensors" or "diffusion_pytorch_model*.safetensors"; shard names are read from the index).
class WeightFiles {
 public:
  // Opens (maps) every file. Throws ErrorKind::checkpoint naming what is missing or broken.
  static WeightFiles open(const std::filesystem::path& folder);

  const std::filesystem::path& folder() const { return folder_; }
  std::vector<std::string> names() const;  // sorted
  bool has(const std::string& name) const { return where_.count(name) != 0; }
  const TensorInfo& info(const std::string& name) const;
  at::Tensor tensor(const std::string& name) const;  // mapped, on the CPU, in its stored type
  void release(const std::string& name) const;       // SafetensorsFile::release
  const std::vector<SafetensorsFile>& files() const { return files_; }

 private:
  std::filesystem::path folder_;
  std::vector<SafetensorsFile> files_;
  std::map<std::string, size_t> where_;
};

}  // namespace glmimage
