#pragma once

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "hub/listing.h"

namespace glmimage::hub {

// What pulls have put into a folder, kept in .glm-image/pulled.json, so that a later pull need not read gigabytes to
// know that they are there: a file whose size and date are as noted is taken for what it was. A note that is not there
// or not understood counts as empty.
class Pulled {
 public:
  static Pulled open(const std::filesystem::path& folder);
  void write() const;  // throws ErrorKind::io

  // Whether the file is there, untouched since it was noted, and has the content that is listed now.
  bool has(const RemoteFile& file) const;
  void add(const RemoteFile& file);  // which is there now
  void set_place(const Listing& listing);
  bool complete = false;  // all that the last pull was asked for is there

 private:
  std::filesystem::path folder_;
  nlohmann::json place_, files_ = nlohmann::json::object();
};

// $XDG_CACHE_HOME/glm-image/models/ORG/NAME, or the same below ~/.cache. Throws ErrorKind::usage when neither variable
// says where.
std::filesystem::path default_folder(const std::string& id);

// The folder behind what --model was given: a path that exists as it is, else a pulled model's name (ORG/NAME) its
// folder, else the text as it is. Throws ErrorKind::checkpoint for a model whose pull was not finished.
std::string find_model(const std::string& model);

}  // namespace glmimage::hub
