#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace glmimage {

// One entry of a safetensors header, checked against the file's size.
struct TensorInfo {
  std::string name;
  at::ScalarType dtype;
  std::vector<int64_t> shape;
  uint64_t begin = 0;  // byte offsets from the start of the file
  uint64_t end = 0;

  int64_t elements() const;  // the product of the shape
};

// A safetensors file mapped read-only into memory. Format: https://huggingface.co/docs/safetensors.
// Files are hostile: header length, dtypes, offsets, overlaps, overflow and shapes are checked before any tensor is
// handed out; every fault throws ErrorKind::checkpoint and names the file, the place and the likely cause.
class SafetensorsFile {
 public:
  static SafetensorsFile open(const std::filesystem::path& file);

  const std::filesystem::path& path() const { return path_; }
  const std::vector<TensorInfo>& tensors() const { return tensors_; }  // in file order
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const TensorInfo* find(const std::string& name) const;
  // A CPU tensor over the mapped bytes: no copy; the mapping lives as long as the tensor. Do not write into it.
  at::Tensor tensor(const std::string& name) const;
  // Tells the system that the bytes of this tensor were copied and need not stay in memory. They can still be read.
  void release(const std::string& name) const;

 private:
  SafetensorsFile() = default;
  std::filesystem::path path_;
  std::shared_ptr<const char> mapping_;
  uint64_t size_ = 0;
  std::vector<TensorInfo> tensors_;
  std::map<std::string, size_t> index_;
  std::map<std::string, std::string> metadata_;
};

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

// Writes tensors (any device; made contiguous) to a temporary file beside `file`, fsyncs it and renames it into place:
// a reader sees the old file or the whole new one. Throws ErrorKind::io when the folder or the disk refuses.
void write_safetensors(const std::filesystem::path& file, const NamedTensors& tensors,
                       const std::map<std::string, std::string>& metadata = {});

// A name out of a file, fit for a terminal: quoted, control characters escaped, not endless.
std::string quoted_name(const std::string& name);

// The safetensors name of a dtype ("F32", "BF16", …); throws ErrorKind::internal for one the format lacks.
std::string safetensors_dtype_name(at::ScalarType dtype);

}  // namespace glmimage
