#include "pipeline/quantise.h"

#include <ATen/TensorOperators.h>
#include <fnmatch.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <system_error>
#include <utility>

#include "core/error.h"
#include "core/json.h"
#include "core/part_file.h"
#include "core/weight_files.h"
#include "kernels/linear.h"
#include "models/ar/model.h"
#include "models/dit/model.h"
#include "models/glyph/encoder.h"

namespace glmimage {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// One part's matrices, by name, and the pattern of those that its own format means.
struct Part {
  std::string folder;
  WeightFormat format = WeightFormat::keep;
  std::vector<std::string> layers, spared;  // patterns
  std::map<std::string, std::vector<int64_t>> matrices;
};

template <typename Model>
std::map<std::string, std::vector<int64_t>> matrices_of(Model model) {
  ParameterList list;
  model.list(list);
  std::map<std::string, std::vector<int64_t>> out;
  for (const Parameter& p : list) {
    if (p.scale) out[p.name] = p.shape;
  }
  return out;
}

std::vector<Part> parts_of(const QuantiseOptions& options) {
  const auto config = [&](const char* part) { return JsonObject::open(options.source / part / "config.json"); };
  return {
      {"vision_language_encoder",
       options.ar,
       {"model.language_model.layers.*"},
       {},
       matrices_of(ArModel(ArConfig::from_json(config("vision_language_encoder"))))},
      {"transformer",
       options.dit,
       {"transformer_blocks.*"},
       {"*.norm1.*"},
       matrices_of(DitModel(DitConfig::from_json(config("transformer"))))},
      {"text_encoder",
       options.glyph,
       {"encoder.block.*"},
       {},
       matrices_of(GlyphEncoder(GlyphConfig::from_json(config("text_encoder"))))},
  };
}

bool fits(const std::string& name, const std::string& pattern) {
  return ::fnmatch(pattern.c_str(), name.c_str(), 0) == 0;
}

bool fits_any(const std::string& name, const std::vector<std::string>& patterns) {
  return std::any_of(patterns.begin(), patterns.end(), [&](const std::string& p) { return fits(name, p); });
}

WeightFormat format_of(const std::string& name, const Part& part, const QuantiseOptions& options) {
  for (auto it = options.patterns.rbegin(); it != options.patterns.rend(); ++it) {
    if (fits(name, it->first)) return it->second;
  }
  return fits_any(name, part.layers) && !fits_any(name, part.spared) ? part.format : WeightFormat::keep;
}

void check_options(const QuantiseOptions& options, const std::vector<Part>& parts) {
  if (options.group < 0 || options.group % 64 != 0) {
    fail(ErrorKind::usage, "groups of ", options.group, " values; expected a multiple of 64, or 0 for whole rows");
  }
  for (const auto& [pattern, format] : options.patterns) {
    const auto names_one = [&, &pattern = pattern](const Part& part) {
      return std::any_of(part.matrices.begin(), part.matrices.end(),
                         [&](const auto& matrix) { return fits(matrix.first, pattern); });
    };
    if (std::none_of(parts.begin(), parts.end(), names_one)) {
      fail(ErrorKind::usage, "the pattern '", pattern, "' fits no matrix of a linear layer; 'glm-image inspect ",
           options.source.string(), " --tensors' names them");
    }
  }
  const fs::path from = fs::weakly_canonical(options.source), to = fs::weakly_canonical(options.destination);
  if (std::mismatch(from.begin(), from.end(), to.begin(), to.end()).first == from.end()) {
    fail(ErrorKind::usage, options.destination.string(), " lies in ", options.source.string(), ", which is copied");
  }
  if (fs::exists(options.destination)) {
    fail(ErrorKind::usage, options.destination.string(), " is there already; nothing was changed");
  }
}

void copy_whole(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::create_directories(to.parent_path(), error);
  if (!error) fs::copy_file(from, to, error);
  if (error) fail(ErrorKind::io, to.string(), ": cannot be copied from ", from.string(), ": ", error.message());
}

// Of the matrix, or, with the mean squares of its inputs (in), of what comes out of it.
double relative_error(const at::Tensor& w, const at::Tensor& now, const at::Tensor& input_squares = {}) {
  const auto size = [&](const at::Tensor& matrix) {
    const at::Tensor squares = matrix.square();  // (out, in)
    return (input_squares.defined() ? squares * input_squares : squares).sum(at::kDouble).item<double>();
  };
  const at::Tensor wide = w.to(at::kFloat);
  const double whole = size(wide);
  return whole > 0 ? std::sqrt(size(now.to(at::kFloat) - wide) / whole) : 0;
}

int64_t bytes_of(const NamedTensors& tensors) {
  int64_t bytes = 0;
  for (const auto& [name, tensor] : tensors) bytes += static_cast<int64_t>(tensor.nbytes());
  return bytes;
}

class Quantiser {
 public:
  // Reads configurations and the headers of weights.
  Quantiser(QuantiseOptions options, const std::function<bool(int64_t, int64_t)>& progress)
      : options_(std::move(options)), progress_(progress) {
    for (fs::path* folder : {&options_.source, &options_.destination}) {
      *folder = without_trailing_slash(folder->lexically_normal());
    }
    parts_ = parts_of(options_);
    check_options(options_, parts_);
    for (const Part& part : parts_) {
      const auto opened = weights_.emplace(part.folder, WeightFiles::open(options_.source / part.folder)).first;
      total_ += static_cast<int64_t>(opened->second.names().size());
      refuse_integers(part, opened->second);
    }
    if (!options_.calibration) return;
    report_.calibration_pictures = options_.calibration->pictures;
    report_.calibration_steps = options_.calibration->steps;
  }

  QuantiseReport run() {
    PartFolder folder(options_.destination);
    // Downloads are often folders of links: what they point to is copied, under the links' names.
    constexpr auto kLinks = fs::directory_options::follow_directory_symlink;
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(options_.source, kLinks)) {
      if (!entry.is_regular_file()) continue;
      const fs::path relative = entry.path().lexically_relative(options_.source);
      if (weights_of_part(relative)) continue;
      copy_whole(entry.path(), folder.path() / relative);
      if (relative.extension() == ".safetensors") {
        report_.bytes_before += static_cast<int64_t>(entry.file_size());
        report_.bytes_after += static_cast<int64_t>(entry.file_size());
      }
    }
    for (const Part& part : parts_) write_part(part, weights_.at(part.folder), folder.path() / part.folder);
    write_json_file(folder.path() / "quantisation.json", report_.to_json());
    folder.commit();
    return report_;
  }

 private:
  void refuse_integers(const Part& part, const WeightFiles& files) const {
    for (const auto& [name, shape] : part.matrices) {
      if (files.has(quantised_names(name).packed) || files.has(quantised_names(name).scale)) {
        fail(ErrorKind::checkpoint, files.folder().string(), ": ", name, " is of few bits already; begin from the ",
             "checkpoint it was made of");
      }
    }
  }

  // Files that write_part() writes: weights and their index.
  bool weights_of_part(const fs::path& relative) const {
    const auto part = weights_.find(relative.parent_path().string());
    if (part == weights_.end()) return false;
    const std::string name = relative.filename().string();
    if (name.ends_with(".safetensors.index.json")) return true;
    const auto& files = part->second.files();
    return std::any_of(files.begin(), files.end(),
                       [&](const SafetensorsFile& file) { return file.path().filename() == name; });
  }

  void write_part(const Part& part, const WeightFiles& files, const fs::path& folder) {
    json map = json::object();
    int64_t size = 0;
    for (const SafetensorsFile& file : files.files()) {
      NamedTensors out;
      for (const TensorInfo& info : file.tensors()) {
        add(part, file, info, out);
        if (!progress_(++done_, total_)) fail(ErrorKind::cancelled, "cancelled; nothing was written");
      }
      const std::string name = file.path().filename().string();
      for (const auto& [tensor, values] : out) map[tensor] = name;
      size += bytes_of(out);
      fs::create_directories(folder);
      write_safetensors(folder / name, out, file.metadata());
      for (const TensorInfo& info : file.tensors()) {
        report_.bytes_before += static_cast<int64_t>(info.end - info.begin);
        file.release(info.name);
      }
    }
    report_.bytes_after += size;
    for (const fs::directory_entry& entry : fs::directory_iterator(files.folder())) {
      const std::string name = entry.path().filename().string();
      if (!name.ends_with(".safetensors.index.json")) continue;
      json index = JsonObject::open(entry.path()).value();
      index["weight_map"] = map;
      index["metadata"]["total_size"] = size;
      write_json_file(folder / name, index);
    }
  }

  // The mean squares of this matrix' inputs: (in); undefined where they are not known.
  at::Tensor input_squares(const TensorInfo& info) const {
    if (!options_.calibration) return {};
    const auto& known = options_.calibration->input_squares;
    const auto found = known.find(info.name);
    if (found == known.end()) return {};
    if (found->second.numel() != info.shape[1]) {
      fail(ErrorKind::internal, "quantise: ", info.name, " has ", info.shape[1], " inputs, its calibration ",
           found->second.numel());
    }
    return found->second;
  }

  void add(const Part& part, const SafetensorsFile& file, const TensorInfo& info, NamedTensors& out) {
    const at::Tensor w = file.tensor(info.name);
    const auto matrix = part.matrices.find(info.name);
    const WeightFormat format =
        matrix == part.matrices.end() ? WeightFormat::keep : format_of(info.name, part, options_);
    if (format == WeightFormat::keep) {
      out.emplace_back(info.name, w);
      return;
    }
    if (info.shape != matrix->second || !at::isFloatingType(info.dtype)) {
      fail(ErrorKind::checkpoint, file.path().string(), ": ", info.name, " is not the matrix of floats of ",
           at::IntArrayRef(matrix->second), " that the configuration implies");
    }
    const size_t before = out.size();
    const at::Tensor squares = input_squares(info);
    at::Tensor now;
    if (format == WeightFormat::bfloat16) {
      now = w.to(at::kBFloat16);
      out.emplace_back(info.name, now);
    } else {
      const bool whole_rows = options_.group == 0 || format == WeightFormat::w8a8;
      const int64_t group = whole_rows ? info.shape[1] : options_.group;
      if (info.shape[1] % group != 0 || (format == WeightFormat::int4 && info.shape[1] % 8 != 0)) {
        report_.kept.push_back(info.name);
        out.emplace_back(info.name, w);
        return;
      }
      const kernels::Quantised few = kernels::quantise(w, format == WeightFormat::int4 ? 4 : 8, group,
                                                       squares.defined() ? std::optional(squares) : std::nullopt);
      append_quantised(out, info.name, info.shape, few.q, few.scale);
      now = kernels::dequantise(few.q, few.scale, at::kFloat);
    }
    const NamedTensors written(out.begin() + static_cast<std::ptrdiff_t>(before), out.end());
    QuantisedMatrix entry{part.folder,
                          info.name,
                          info.shape,
                          format,
                          relative_error(w, now),
                          std::nullopt,
                          static_cast<int64_t>(info.end - info.begin),
                          bytes_of(written)};
    if (squares.defined()) entry.output_error = relative_error(w, now, squares);
    report_.matrices.push_back(std::move(entry));
  }

  QuantiseOptions options_;
  std::vector<Part> parts_;
  std::map<std::string, WeightFiles> weights_;  // by part
  const std::function<bool(int64_t, int64_t)>& progress_;
  int64_t done_ = 0, total_ = 0;
  QuantiseReport report_;
};

}  // namespace

const std::map<std::string, WeightFormat>& weight_formats() {
  static const std::map<std::string, WeightFormat> formats = {{"keep", WeightFormat::keep},
                                                              {"bf16", WeightFormat::bfloat16},
                                                              {"int8", WeightFormat::int8},
                                                              {"w8a8", WeightFormat::w8a8},
                                                              {"int4", WeightFormat::int4}};
  return formats;
}

std::string weight_format_name(WeightFormat format) {
  const auto& all = weight_formats();
  return std::find_if(all.begin(), all.end(), [&](const auto& entry) { return entry.second == format; })->first;
}

json QuantiseReport::to_json() const {
  json list = json::array();
  for (const QuantisedMatrix& m : matrices) {
    list.push_back({{"part", m.part},
                    {"name", m.name},
                    {"shape", m.shape},
                    {"format", weight_format_name(m.format)},
                    {"error", m.error},
                    {"bytes_before", m.bytes_before},
                    {"bytes_after", m.bytes_after}});
    if (m.output_error) list.back()["output_error"] = *m.output_error;
  }
  json out = {{"bytes_before", bytes_before}, {"bytes_after", bytes_after}, {"kept", kept}, {"matrices", list}};
  if (calibration_pictures > 0) {
    out["calibration"] = {{"pictures", calibration_pictures}, {"steps", calibration_steps}};
  }
  return out;
}

void validate(const QuantiseOptions& options) {
  Quantiser(options, [](int64_t, int64_t) { return true; });
}

QuantiseReport quantise_checkpoint(const QuantiseOptions& options,
                                   const std::function<bool(int64_t done, int64_t total)>& progress) {
  return Quantiser(options, progress).run();
}

}  // namespace glmimage
