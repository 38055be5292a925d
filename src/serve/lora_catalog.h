#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "pipeline/pipeline.h"
#include "serve/job.h"

namespace glmimage::serve {

// An adapter that requests may name.
struct ListedLora {
  std::string name;  // the file's, without its ending
  std::filesystem::path file;
  int64_t bytes = 0;
  int64_t modified = 0;  // Unix seconds
};

// The adapters of a server. Names are compared with those of files that are there: no path is ever made of one.
class LoraCatalog {
 public:
  LoraCatalog() = default;
  // `served`: what the server was started with, and draws with where a request says nothing. `folder`: more of them,
  // each NAME.safetensors; it is looked at anew at every question, so that files may come and go. Empty: none. Throws
  // ErrorKind::usage for a folder that cannot be read.
  LoraCatalog(std::vector<LoraChoice> served, std::filesystem::path folder);

  // By name; of two files of one name that of `served` counts.
  std::vector<ListedLora> list() const;
  // Throws ErrorKind::usage naming an adapter that is not there (any more).
  std::vector<LoraChoice> resolve(const JobLoras& loras) const;

 private:
  std::vector<LoraChoice> served_;
  std::filesystem::path folder_;
};

}  // namespace glmimage::serve
