#include "train/state/saved_tensors.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json.h"
#include "train/distributed/process_group.h"

namespace glmimage::train {
namespace fs = std::filesystem;
using nlohmann::json;

namespace {

constexpr const char* kIndex = "pieces.json";
constexpr int64_t kMostRanks = 100'000;

std::string file_of(const std::string& kind, int64_t rank, int64_t ranks) {
  char part[64];
  std::snprintf(part, sizeof part, "-%05lld-of-%05lld", static_cast<long long>(rank), static_cast<long long>(ranks));
  return kind + part + ".safetensors";
}

std::vector<int64_t> numbers_of(const json& value, const JsonObject& index, const std::string& name) {
  std::vector<int64_t> out;
  if (!value.is_array()) index.reject(name, "has no list of numbers");
  for (const json& each : value) {
    if (!each.is_number_integer() || each.get<int64_t>() < 0) index.reject(name, concat("has ", each.dump()));
    out.push_back(each.get<int64_t>());
  }
  return out;
}

}  // namespace

SavedTensors::SavedTensors(SafetensorsFile file) : where_(file.path()) {
  for (const TensorInfo& info : file.tensors()) {
    entries_[info.name] = {info.shape, {{.offset = 0, .length = info.elements(), .file = 0}}};
  }
  files_.push_back(std::move(file));
}

SavedTensors SavedTensors::open(const fs::path& state, const std::string& kind) {
  if (!fs::exists(state / kIndex)) return SavedTensors(SafetensorsFile::open(state / (kind + ".safetensors")));
  const JsonObject index = JsonObject::open(state / kIndex);
  const int64_t ranks = index.positive("ranks");
  if (ranks > kMostRanks) index.reject("ranks", concat("is ", ranks));
  SavedTensors out;
  out.where_ = state / kIndex;
  for (int64_t r = 0; r < ranks; ++r) out.files_.push_back(SafetensorsFile::open(state / file_of(kind, r, ranks)));
  const JsonObject tensors = index.object(kind);
  for (const auto& [name, value] : tensors.value().items()) {
    const JsonObject about = tensors.object(name);
    Entry entry{.shape = numbers_of(value.value("shape", json()), tensors, name), .runs = {}};
    for (const json& piece : value.value("pieces", json::array())) {
      const std::vector<int64_t> numbers = numbers_of(piece, tensors, name);
      if (numbers.size() != 3 || numbers[0] >= ranks) tensors.reject(name, concat("has the piece ", piece.dump()));
      entry.runs.push_back({numbers[1], numbers[2], static_cast<size_t>(numbers[0])});
    }
    std::sort(entry.runs.begin(), entry.runs.end(), [](const Run& a, const Run& b) { return a.offset < b.offset; });
    out.check(name, entry);
    out.entries_[name] = std::move(entry);
  }
  return out;
}

// The pieces must be in the files, and be the whole tensor.
void SavedTensors::check(const std::string& name, const Entry& entry) const {
  int64_t end = 0;
  for (const Run& run : entry.runs) {
    const SafetensorsFile& file = files_[run.file];
    const TensorInfo* info = file.find(name);
    if (!info || info->elements() != run.length) {
      fail(ErrorKind::checkpoint, file.path().string(), ": the piece of ", quoted_name(name), " that ", where_.string(),
           " speaks of is not there; files of two states?");
    }
    if (run.offset != end) break;
    end += run.length;
  }
  const int64_t whole = TensorPiece{name, {}, entry.shape}.whole_elements();
  if (end != whole) {
    fail(ErrorKind::checkpoint, where_.string(), ": the pieces of ", quoted_name(name), " end at element ", end, " of ",
         whole);
  }
}

void SavedTensors::read(const TensorPiece& piece) const {
  const auto found = entries_.find(piece.name);
  if (found == entries_.end()) {
    fail(ErrorKind::checkpoint, where_.string(), ": there is no tensor ", quoted_name(piece.name));
  }
  const Entry& entry = found->second;
  if (entry.shape != piece.shape) {
    fail(ErrorKind::checkpoint, where_.string(), ": ", quoted_name(piece.name), " has the shape ",
         at::IntArrayRef(entry.shape), ", expected ", at::IntArrayRef(piece.shape));
  }
  at::NoGradGuard no_grad;
  at::Tensor values = piece.values.detach();
  const int64_t begin = piece.offset, end = begin + values.numel();
  const at::Tensor flat = values.is_contiguous() ? values.view({-1}) : values.contiguous().view({-1});
  for (const Run& run : entry.runs) {
    const int64_t from = std::max(begin, run.offset), to = std::min(end, run.offset + run.length);
    if (from >= to) continue;
    const at::Tensor saved = files_[run.file].tensor(piece.name).view({-1});
    flat.narrow(0, from - begin, to - from).copy_(saved.narrow(0, from - run.offset, to - from));
  }
  if (!values.is_contiguous()) values.copy_(flat.view(values.sizes()));
}

void write_whole(const fs::path& state, const std::string& kind, const std::vector<TensorPiece>& tensors) {
  NamedTensors named;
  for (const TensorPiece& each : tensors) named.emplace_back(each.name, each.values.detach());
  write_safetensors(state / (kind + ".safetensors"), named);
}

void PiecesWriter::write(const std::string& kind, const std::vector<TensorPiece>& pieces) {
  NamedTensors named;
  json& about = own_[kind] = json::object();
  for (const TensorPiece& piece : pieces) {
    named.emplace_back(piece.name, piece.values.detach().reshape({-1}));
    about[piece.name] = {{"shape", piece.shape}, {"piece", {group_.rank(), piece.offset, piece.values.numel()}}};
  }
  write_safetensors(state_ / file_of(kind, group_.rank(), group_.size()), named);
}

void PiecesWriter::finish() {
  const std::vector<std::string> all = group_.all_gather_text(own_.dump(), "who has which piece of the state");
  if (!group_.first()) return;
  json index = {{"ranks", group_.size()}};
  for (const std::string& text : all) {
    const json told = json::parse(text);
    for (const auto& [kind, tensors] : told.items()) {
      for (const auto& [name, about] : tensors.items()) {
        json& entry = index[kind][name];
        entry["shape"] = about["shape"];
        entry["pieces"].push_back(about["piece"]);
      }
    }
  }
  write_json_file(state_ / kIndex, index);
}

}  // namespace glmimage::train
