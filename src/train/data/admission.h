#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "train/data/data_config.h"
#include "train/data/data_report.h"
#include "train/data/record.h"

namespace glmimage::train {

// The door of a data set: measures a record's pictures from their headers (those whose size is not yet known) and keeps
// it, or skips it with a reason. Nothing a file holds makes it throw.
class Admission {
 public:
  Admission(const DataConfig& config, SourceReport& report) : config_(config), report_(report) {}

  void consider(Record record);
  void skip(Skip reason, const std::string& name, const std::string& why) { report_.skip(reason, name, why); }
  const std::string& source() const { return report_.source; }
  std::vector<Record> take() { return std::move(kept_); }
  size_t count() const { return kept_.size() + report_.skipped.size(); }

 private:
  bool measure(Picture& picture);
  const DataConfig& config_;
  SourceReport& report_;
  std::vector<Record> kept_;
};

// The readers of each form of data. All give what they find to `admission`, in an order that does not depend on the
// file system, and throw ErrorKind::usage when the source itself is missing or unreadable.

// Pictures (.png, .jpg, .jpeg, .webp, in any case) in a folder and its sub-folders, but not behind links to folders and
// not those whose name begins with a dot. Captions lie beside a picture under its name: name.json (see captions.h),
// else name.txt or name.caption, a caption a line.
void index_folder(const std::filesystem::path& folder, Admission& admission);

// A JSON object a line: "image" (or "file_name"), a path relative to the list; captions and repeats as in captions.h;
// "source" or "sources" (a path or a list of them), reference pictures of an editing pair; "width" and "height" of the
// picture, believed when given, which saves reading its header.
void index_json_lines(const std::filesystem::path& file, Admission& admission);

// WebDataset shards. Members that agree up to the first dot of their file name are one sample: KEY.jpg (or another
// picture), KEY.json or KEY.txt, KEY.source*.jpg for reference pictures (in the order of their names).
void index_shards(const std::vector<std::filesystem::path>& shards, Admission& admission);

// Whether a file of this name holds a picture that can be read.
bool has_picture_name(const std::filesystem::path& file);

}  // namespace glmimage::train
