#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace glmimage::train {

// Why an entry is not trained on.
enum class Skip {
  unreadable,      // missing, no picture, a broken header
  too_small,       // a side below DataConfig::min_side, or too small for every bucket
  too_large,       // a side above what is decoded
  too_long,        // aspect beyond DataConfig::max_aspect
  no_caption,      // none beside it, or only empty ones
  bad_caption,     // a caption file that is no UTF-8 or no JSON of the right form
  bad_entry,       // a line of a list that is no JSON of the right form; a tar sample without a picture
  broken_archive,  // the rest of a tar shard
};
const char* name_of(Skip reason);

struct Skipped {
  Skip reason;
  std::string name;  // of the picture, line or archive
  std::string why;   // one sentence, as the reader of the file put it
};

// What the pass over one source found, before the first step.
struct SourceReport {
  std::string source;  // as given to --data
  int64_t used = 0;    // records
  std::vector<Skipped> skipped;

  void skip(Skip reason, const std::string& name, const std::string& why) { skipped.push_back({reason, name, why}); }
  // "1,204 pictures; 3 skipped: 2 unreadable (a.png, b.png), 1 no_caption (c.png)", the first `names` of each reason.
  std::string summary(size_t names = 3) const;
  nlohmann::json to_json() const;  // with every skipped entry
};

// Writes JSON that may quote file names of any bytes: what is no UTF-8 becomes U+FFFD. Throws ErrorKind::io.
void write_report(const std::filesystem::path& file, const nlohmann::json& content);

}  // namespace glmimage::train
