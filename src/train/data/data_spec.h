#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace glmimage::train {

// One source as the user named it.
struct DataSpec {
  std::string source;            // a folder, a .jsonl file, .tar shards, or "synthetic"
  std::optional<double> weight;  // of "SRC@weight"
};

// The values of --data, which may be given several times, each "SRC" or "SRC@weight" or several of them with commas
// between. A comma or an @ that belongs to an existing path stays part of it; commas within braces never separate.
// Throws ErrorKind::usage for an empty source and for a weight that is not above 0.
std::vector<DataSpec> parse_data_specs(const std::vector<std::string>& values);

// "shard-{0000..0009}.tar" -> ten names, "{a,b}.tar" -> two; several braces multiply. A name without braces is itself.
// Throws ErrorKind::usage for braces that make no sense and for more than 100,000 names.
std::vector<std::string> expand_braces(const std::string& pattern);

}  // namespace glmimage::train
