#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/safetensors.h"
#include "train/optim/tensor_piece.h"

namespace glmimage::train {

class ProcessGroup;

// One kind of a saved state's tensors ("weights", "optimiser", "ema"), whoever wrote it: one process the file
// <kind>.safetensors with whole tensors, each of several its own pieces in <kind>-RRRRR-of-NNNNN.safetensors, with
// pieces.json saying who has what. Either is read by any number of processes, piece by piece.
class SavedTensors {
 public:
  // Throws ErrorKind::checkpoint for a broken file or index, and for pieces that do not make up whole tensors.
  static SavedTensors open(const std::filesystem::path& state, const std::string& kind);
  explicit SavedTensors(SafetensorsFile file);

  // Fills piece.values, of any device, with the elements it stands for. Throws ErrorKind::checkpoint when there are
  // none of this name or the tensor has another shape.
  void read(const TensorPiece& piece) const;

 private:
  struct Run {
    int64_t offset, length;  // in the flattened tensor
    size_t file;
  };
  struct Entry {
    std::vector<int64_t> shape;
    std::vector<Run> runs;  // in order, without gaps
  };
  SavedTensors() = default;
  void check(const std::string& name, const Entry& entry) const;

  std::filesystem::path where_;
  std::vector<SafetensorsFile> files_;
  std::map<std::string, Entry> entries_;
};

// Writes <kind>.safetensors.
void write_whole(const std::filesystem::path& state, const std::string& kind, const std::vector<TensorPiece>& tensors);

// Writes a state of several processes, on all of them together.
class PiecesWriter {
 public:
  PiecesWriter(ProcessGroup& group, std::filesystem::path state) : group_(group), state_(std::move(state)) {}
  // Writes this rank's file of a kind.
  void write(const std::string& kind, const std::vector<TensorPiece>& pieces);
  // After all kinds: rank 0 writes pieces.json.
  void finish();

 private:
  ProcessGroup& group_;
  std::filesystem::path state_;
  nlohmann::json own_ = nlohmann::json::object();
};

}  // namespace glmimage::train
