#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "pipeline/calibrate.h"

namespace glmimage {

// How a matrix is stored. w8a8: 8 bits with one scale a row whatever the group, which lets products of many tokens
// round those to 8 bits too (kernels::quantised_linear).
enum class WeightFormat { keep, bfloat16, int8, w8a8, int4 };

const std::map<std::string, WeightFormat>& weight_formats();  // by name: keep, bf16, int8, w8a8, int4
std::string weight_format_name(WeightFormat format);

// Which matrices of a checkpoint become smaller, and how.
struct QuantiseOptions {
  std::filesystem::path source, destination;  // folders in the published layout; the second must not be there
  WeightFormat ar = WeightFormat::keep, dit = WeightFormat::keep, glyph = WeightFormat::keep;
  // Names of matrices, '*' standing for anything ("lm_head*", "*.mlp.*"), and what becomes of them: the last that fits
  // goes before the part's own format.
  std::vector<std::pair<std::string, WeightFormat>> patterns;
  int64_t group = 64;  // inputs that share a scale of int8 and int4; 0: all of a row
  // With it errors count as the square of what they are multiplied with; without, or for a matrix that is not in it,
  // all alike.
  std::optional<Calibration> calibration;
};

// One matrix whose values changed.
struct QuantisedMatrix {
  std::string part, name;
  std::vector<int64_t> shape;
  WeightFormat format;
  double error;  // |W − Ŵ| / |W|, root mean squares
  // The same of W x, with the calibration's mean squares of x as if its values had nothing to do with each other.
  std::optional<double> output_error;
  int64_t bytes_before, bytes_after;
};

struct QuantiseReport {
  std::vector<QuantisedMatrix> matrices;
  std::vector<std::string> kept;              // were asked for, but their width is not a multiple of the group
  int64_t bytes_before = 0, bytes_after = 0;  // of all weights of the checkpoint
  int64_t calibration_pictures = 0, calibration_steps = 0;  // 0: without calibration

  nlohmann::json to_json() const;
};

// What can be refused without reading weights and writing anything, for those who have work to do before. Throws what
// quantise_checkpoint() would.
void validate(const QuantiseOptions& options);

// Writes a checkpoint whose layers hold few bits. Of a part with a format, the matrices of its layers are taken, of the
// diffusion transformer without those that make modulations (`norm1`), and not the head, tables and what stands before
// and behind the layers: these are small, and errors in them reach everything. Patterns reach every matrix of a linear
// layer. Shards stay shards; at most one is in memory. Everything else is copied. The folder appears whole or not at
// all, with the report in it (quantisation.json).
// `progress` is told what is done of how many tensors; it returns false to stop, which throws ErrorKind::cancelled.
// Throws ErrorKind::usage for what cannot be asked for, ErrorKind::checkpoint for broken or already quantised weights,
// ErrorKind::io when the disk refuses.
QuantiseReport quantise_checkpoint(const QuantiseOptions& options,
                                   const std::function<bool(int64_t done, int64_t total)>& progress);

}  // namespace glmimage
