#include "cli/picture_list.h"

#include <charconv>
#include <system_error>
#include <utility>

#include "core/error.h"
#include "core/terminal_text.h"

namespace glmimage::cli {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMostShares = 1'000'000;

std::optional<int64_t> whole_number(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

Share parse_share(const std::string& text) {
  const size_t slash = text.find('/');
  if (slash != std::string::npos) {
    const std::optional<int64_t> place = whole_number(std::string_view(text).substr(0, slash));
    const std::optional<int64_t> count = whole_number(std::string_view(text).substr(slash + 1));
    if (place && count && *count >= 1 && *count <= kMostShares && *place >= 1 && *place <= *count) {
      return {*place - 1, *count, "--share"};
    }
  }
  fail(ErrorKind::usage, "--share is '", terminal_text(text), "'; expected I/N, from 1/N to N/N, with N at most ",
       kMostShares);
}

fs::path numbered(const fs::path& output, int64_t number) {
  fs::path name = output;
  name.replace_filename(concat(output.stem().string(), "-", number, output.extension().string()));
  return name;
}

std::vector<WantedPicture> take_share(std::vector<WantedPicture> pictures, const Share& share) {
  std::vector<WantedPicture> out;
  for (size_t i = static_cast<size_t>(share.index); i < pictures.size(); i += static_cast<size_t>(share.count)) {
    out.push_back(std::move(pictures[i]));
  }
  return out;
}

RemainingPictures::RemainingPictures(Manifest& manifest, std::vector<WantedPicture> share) : manifest_(manifest) {
  for (WantedPicture& picture : share) share_.emplace(picture.number, std::move(picture));
  take_note(manifest_.read());
  for (const auto& [number, picture] : share_) {
    if (is_drawn(picture)) {
      ++found_;
    } else {
      pending_.push_back(picture);
    }
  }
}

// As the manifest names it, so that a folder may be moved with all that is in it.
std::string RemainingPictures::name_of(const fs::path& file) const {
  const fs::path folder = fs::absolute(manifest_.file()).lexically_normal().parent_path();
  return fs::absolute(file).lexically_normal().lexically_relative(folder).string();
}

void RemainingPictures::take_note(const std::vector<ManifestEntry>& entries) {
  for (const ManifestEntry& entry : entries) {
    const auto found = share_.find(entry.number);
    if (found == share_.end()) continue;  // of another share, or of a longer list
    const WantedPicture& wanted = found->second;
    const auto refuse = [&](const char* what, const std::string& there, const std::string& now) {
      fail(ErrorKind::usage, manifest_.file().native(), ":", entry.line, ": picture ", entry.number,
           " was drawn with another ", what, ", ", terminal_text(there, 80), ", not ", terminal_text(now, 80),
           "; go on with the same list and options, or take another manifest");
    };
    if (entry.prompt != wanted.prompt) refuse("prompt", entry.prompt, wanted.prompt);
    if (entry.seed != wanted.seed) refuse("seed", std::to_string(entry.seed), std::to_string(wanted.seed));
    if (entry.file != name_of(wanted.file)) refuse("name", entry.file, name_of(wanted.file));
    drawn_[entry.number] = entry.bytes;
  }
}

// A file that was taken away or cut short since is drawn again.
bool RemainingPictures::is_drawn(const WantedPicture& picture) const {
  const auto found = drawn_.find(picture.number);
  if (found == drawn_.end()) return false;
  std::error_code error;
  const uintmax_t bytes = fs::file_size(picture.file, error);
  return !error && bytes == static_cast<uintmax_t>(found->second);
}

std::optional<WantedPicture> RemainingPictures::next() {
  while (!pending_.empty() || !held_.empty()) {
    // What others held comes last, when they may have ended.
    const bool last_try = pending_.empty();
    std::deque<WantedPicture>& from = last_try ? held_ : pending_;
    WantedPicture picture = std::move(from.front());
    from.pop_front();
    if (!manifest_.claim(picture.number)) {
      if (last_try) {
        ++elsewhere_;
      } else {
        held_.push_back(std::move(picture));
      }
      continue;
    }
    take_note(manifest_.read());  // it may have been drawn between the last look and the claim
    if (!is_drawn(picture)) return picture;
    manifest_.release(picture.number);
    ++found_;
  }
  return std::nullopt;
}

void RemainingPictures::finish(const WantedPicture& picture, ManifestEntry entry) {
  entry.number = picture.number;
  entry.prompt = picture.prompt;
  entry.seed = picture.seed;
  entry.file = name_of(picture.file);
  manifest_.append(entry);
  manifest_.release(picture.number);
}

}  // namespace glmimage::cli
