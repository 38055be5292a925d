#pragma once

#include <ATen/core/Tensor.h>

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "train/data/content_hash.h"

namespace glmimage::train {

// One row of numbers for each record of a data set (its visual ids, its latents), made once and kept in a folder.
//
// A file holds the rows of a list of records under the hashes of what they were made from, so a picture that was
// changed, or a new one among thousands, is one row to be made. Processes may share the folder: each takes the lists
// nobody works on, then waits for the others'. A file appears whole or not at all, so a run that is killed has lost the
// list it was at. Files are mapped, not read into memory.
class RecordCache {
 public:
  // Opens what is in `folder` (made when missing). Every byte is held to the file's checksum once; a file that is not
  // what was written is named on stderr, removed, and made anew by fill().
  RecordCache(std::filesystem::path folder, at::ScalarType type);

  bool has(const TextHash& key) const { return rows_.contains(key); }
  // (n) of the cache's type, mapped: not to be written to.
  at::Tensor row(const TextHash& key) const;

  struct Item {
    int64_t record;
    TextHash key;
  };
  struct Made {
    std::vector<Item> items;       // those that could be made, in order
    std::vector<at::Tensor> rows;  // 1-D, one an item
  };
  using Make = std::function<Made(const std::vector<Item>&)>;
  // Makes what is missing of these lists, a file each, and says how far it is on stderr. Returns early, with what there
  // is, once `stop` is set.
  void fill(const std::string& name, const std::vector<std::vector<Item>>& lists, const Make& make,
            const std::atomic<bool>* stop);

 private:
  struct Row {
    at::Tensor values;  // of the whole file
    int64_t begin = 0, end = 0;
  };
  void open_file(const std::filesystem::path& file);
  std::filesystem::path file_of(const std::vector<Item>& list) const;
  void write(const std::filesystem::path& file, const Made& made) const;

  std::filesystem::path folder_;
  at::ScalarType type_;
  std::map<TextHash, Row> rows_;
};

}  // namespace glmimage::train
