#include "train/data/record_cache.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <optional>
#include <system_error>
#include <thread>

#include "core/error.h"
#include "core/safetensors.h"
#include "train/data/file_lock.h"

namespace glmimage::train {
namespace fs = std::filesystem;

namespace {

constexpr const char* kFormat = "glm-image cache 1";

uint64_t checksum(const at::Tensor& keys, const at::Tensor& ends, const at::Tensor& values) {
  ByteHash hash;
  for (const at::Tensor& each : {keys, ends, values}) hash.add(each.const_data_ptr(), each.nbytes());
  return hash.value();
}

// What is wrong with a cache file, or nothing.
std::string fault_of(const SafetensorsFile& file, at::ScalarType type) {
  const auto said = [&](const char* name) {
    const auto found = file.metadata().find(name);
    return found == file.metadata().end() ? std::string() : found->second;
  };
  if (said("format") != kFormat) return "is no cache file of this version";
  const TensorInfo *keys = file.find("keys"), *ends = file.find("ends"), *values = file.find("values");
  if (!keys || !ends || !values || keys->dtype != at::kLong || ends->dtype != at::kLong || values->dtype != type ||
      keys->shape.size() != 2 || keys->shape[1] != 2 || ends->shape != std::vector<int64_t>{keys->shape[0]} ||
      values->shape.size() != 1) {
    return "has other tensors than a cache file";
  }
  if (said("checksum") != hex(checksum(file.tensor("keys"), file.tensor("ends"), file.tensor("values")))) {
    return "does not hold what was written to it";
  }
  return "";
}

// How far the filling is: a line at once, then every ten seconds.
class Progress {
 public:
  Progress(std::string name, int64_t total) : name_(std::move(name)), total_(total), began_(Clock::now()) {
    if (total_ > 0) std::fprintf(stderr, "%s: %lld to encode\n", name_.c_str(), static_cast<long long>(total_));
  }
  void add(int64_t count) {
    done_ += count;
    const double seconds = std::chrono::duration<double>(Clock::now() - began_).count();
    if (seconds < next_ && done_ < total_) return;
    next_ = seconds + 10;
    const double rate = static_cast<double>(done_) / std::max(seconds, 1e-6);
    std::fprintf(stderr, "%s: %lld/%lld, %.1f/s, %.0f min left\n", name_.c_str(), static_cast<long long>(done_),
                 static_cast<long long>(total_), rate, static_cast<double>(total_ - done_) / rate / 60);
  }

 private:
  using Clock = std::chrono::steady_clock;
  std::string name_;
  int64_t total_, done_ = 0;
  Clock::time_point began_;
  double next_ = 10;
};

}  // namespace

RecordCache::RecordCache(fs::path folder, at::ScalarType type) : folder_(std::move(folder)), type_(type) {
  std::error_code error;
  fs::create_directories(folder_, error);
  if (error) fail(ErrorKind::io, folder_.string(), ": cannot be made: ", error.message());
  std::vector<fs::path> files;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder_)) {
    if (entry.path().extension() == ".safetensors") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  for (const fs::path& file : files) open_file(file);
}

void RecordCache::open_file(const fs::path& path) {
  std::string fault;
  std::optional<SafetensorsFile> file;
  try {
    file = SafetensorsFile::open(path);
    fault = fault_of(*file, type_);
  } catch (const Error& error) {
    fault = error.what();
  }
  if (!fault.empty()) {
    std::fprintf(stderr, "warning: %s: %s; it is made anew\n", path.c_str(), fault.c_str());
    std::error_code none;
    fs::remove(path, none);
    return;
  }
  const at::Tensor keys = file->tensor("keys"), ends = file->tensor("ends"), values = file->tensor("values");
  const int64_t* key = keys.const_data_ptr<int64_t>();
  int64_t begin = 0;
  for (int64_t i = 0; i < keys.size(0); ++i, key += 2) {
    const int64_t end = ends.const_data_ptr<int64_t>()[i];
    if (end < begin || end > values.numel()) break;  // never of a file of ours
    rows_.try_emplace(TextHash{static_cast<uint64_t>(key[0]), static_cast<uint64_t>(key[1])}, Row{values, begin, end});
    begin = end;
  }
  file->release("values");  // read for the checksum; rows are read as they are asked for
}

at::Tensor RecordCache::row(const TextHash& key) const {
  const auto found = rows_.find(key);
  if (found == rows_.end()) fail(ErrorKind::internal, folder_.string(), ": a row that was not made is asked for");
  return found->second.values.slice(0, found->second.begin, found->second.end);
}

fs::path RecordCache::file_of(const std::vector<Item>& list) const {
  std::string keys;
  for (const Item& item : list) keys += hex(item.key);
  return folder_ / (hex(hash_text(keys)) + ".safetensors");
}

void RecordCache::write(const fs::path& file, const Made& made) const {
  const int64_t count = static_cast<int64_t>(made.items.size());
  at::Tensor keys = at::empty({count, 2}, at::kLong), ends = at::empty({count}, at::kLong);
  int64_t* key = keys.mutable_data_ptr<int64_t>();
  int64_t end = 0;
  for (int64_t i = 0; i < count; ++i, key += 2) {
    const Item& item = made.items[static_cast<size_t>(i)];
    key[0] = static_cast<int64_t>(item.key[0]), key[1] = static_cast<int64_t>(item.key[1]);
    ends.mutable_data_ptr<int64_t>()[i] = end += made.rows[static_cast<size_t>(i)].numel();
  }
  const at::Tensor values = at::cat(made.rows).to(type_);
  write_safetensors(file, {{"keys", keys}, {"ends", ends}, {"values", values}},
                    {{"format", kFormat}, {"checksum", hex(checksum(keys, ends, values))}});
}

void RecordCache::fill(const std::string& name, const std::vector<std::vector<Item>>& lists, const Make& make,
                       const std::atomic<bool>* stop) {
  at::NoGradGuard no_grad;
  std::vector<std::vector<Item>> missing;
  int64_t count = 0;
  for (const std::vector<Item>& list : lists) {
    std::vector<Item> rest;
    for (const Item& item : list) {
      if (!has(item.key)) rest.push_back(item);
    }
    count += static_cast<int64_t>(rest.size());
    if (!rest.empty()) missing.push_back(std::move(rest));
  }
  Progress progress(name, count);
  // What another process has in hand is passed over and asked for again: it is there once their lock is free, or, when
  // they were killed, ours to make.
  while (!missing.empty()) {
    const size_t before = missing.size();
    for (std::vector<Item>& list : missing) {
      if (stop && stop->load()) return;
      const fs::path file = file_of(list);
      const FileLock lock(file.string() + ".lock");
      if (!lock.held()) continue;
      if (!fs::exists(file)) {
        const Made made = make(list);
        if (!made.items.empty()) write(file, made);
      }
      if (fs::exists(file)) open_file(file);
      progress.add(static_cast<int64_t>(list.size()));
      list.clear();
    }
    std::erase_if(missing, [](const std::vector<Item>& list) { return list.empty(); });
    if (missing.size() == before) std::this_thread::sleep_for(std::chrono::milliseconds(200));
  }
}

}  // namespace glmimage::train
