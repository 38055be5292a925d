#pragma once

#include <cstdint>
#include <deque>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "cli/manifest.h"
#include "core/launch.h"

namespace glmimage::cli {

// A picture of a list of prompts.
struct WantedPicture {
  int64_t number = 0;  // from 1: the first prompt's pictures, then the second's, …
  std::string prompt;
  uint64_t seed = 0;
  std::filesystem::path file;
};

// "2/8": the second of eight. Throws ErrorKind::usage for anything else.
Share parse_share(const std::string& text);

// a.png: a-3.png for picture 3.
std::filesystem::path numbered(const std::filesystem::path& output, int64_t number);

// Every `share.count`th of the pictures, from picture `share.index` + 1 on: neighbours in a list are often alike, so
// that the shares take about equally long.
std::vector<WantedPicture> take_share(std::vector<WantedPicture> pictures, const Share& share);

// The pictures of a share that no process has drawn yet and none is drawing, one after the other. Who draws what is
// settled by the manifest, so shares of calls with another number of shares, even at the same time, do no harm.
class RemainingPictures {
 public:
  // Throws ErrorKind::usage where the manifest has another prompt, seed or file for one of the pictures.
  RemainingPictures(Manifest& manifest, std::vector<WantedPicture> share);

  bool empty() const { return pending_.empty(); }
  // Claims one to be drawn; nothing when none is left.
  std::optional<WantedPicture> next();
  // Its file is in place. `entry` has size, digest, bytes and seconds; the rest is filled in.
  void finish(const WantedPicture& picture, ManifestEntry entry);

  int64_t found() const { return found_; }          // drawn by others, or earlier
  int64_t elsewhere() const { return elsewhere_; }  // which another process was still drawing at the end

 private:
  void take_note(const std::vector<ManifestEntry>& entries);
  bool is_drawn(const WantedPicture& picture) const;
  std::string name_of(const std::filesystem::path& file) const;

  Manifest& manifest_;
  std::deque<WantedPicture> pending_, held_;  // held_: claimed by another process when their turn came
  std::map<int64_t, WantedPicture> share_;    // by number
  std::map<int64_t, int64_t> drawn_;          // number -> bytes of its file
  int64_t found_ = 0, elsewhere_ = 0;
};

}  // namespace glmimage::cli
