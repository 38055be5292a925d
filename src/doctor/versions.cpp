#include "doctor/versions.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <initializer_list>
#include <utility>

namespace glmimage::doctor {
namespace {

// Words that name what comes before a release, as numbers below 0.
std::optional<int64_t> stage_of(const std::string& word) {
  if (word == "rc") return -1;
  if (word == "beta" || word == "b") return -2;
  if (word == "alpha" || word == "a") return -3;
  return std::nullopt;
}

bool same_start(const Version& version, std::initializer_list<int64_t> parts) {
  size_t index = 0;
  return std::all_of(parts.begin(), parts.end(), [&](int64_t part) { return version.part(index++) == part; });
}

}  // namespace

std::optional<Version> Version::parse(const std::string& text) {
  Version out;
  size_t at = 0;
  const auto take = [&](auto belongs) {
    std::string taken;
    while (at < text.size() && belongs(static_cast<unsigned char>(text[at]))) taken += text[at++];
    return taken;
  };
  while (at < text.size()) {
    const std::string digits = take([](unsigned char c) { return std::isdigit(c) != 0; });
    if (digits.size() > 18) return std::nullopt;
    if (!digits.empty()) out.parts_.push_back(std::stoll(digits));
    std::string word = take([](unsigned char c) { return std::isalpha(c) != 0; });
    if (out.parts_.empty()) return std::nullopt;
    if (!word.empty()) {
      std::transform(word.begin(), word.end(), word.begin(), [](unsigned char c) { return std::tolower(c); });
      const std::optional<int64_t> stage = stage_of(word);
      if (!stage) break;  // "post", a distributor's suffix: no part of the order
      out.parts_.push_back(*stage);
    } else if (at < text.size()) {
      if (text[at] != '.' && text[at] != '-' && text[at] != '_') break;
      ++at;
    }
  }
  return out.parts_.empty() ? std::nullopt : std::optional(out);
}

std::strong_ordering Version::operator<=>(const Version& other) const {
  const size_t count = std::max(parts_.size(), other.parts_.size());
  for (size_t i = 0; i < count; ++i) {
    if (part(i) != other.part(i)) return part(i) <=> other.part(i);
  }
  return std::strong_ordering::equal;
}

std::optional<std::string> oldest_nvidia_driver(const std::string& cuda) {
  const auto version = Version::parse(cuda);
  if (!version) return std::nullopt;
  switch (version->part(0)) {
    case 13: return "580.65.06";
    case 12: return "525.60.13";
    case 11: return "450.80.02";
    default: return std::nullopt;
  }
}

std::optional<std::string> cann_of_libtorch(const std::string& libtorch) {
  static constexpr std::array<std::pair<const char*, const char*>, 5> kReleases = {{
      {"2.12.0", "9.1.0"},
      {"2.11.0", "9.1.0"},
      {"2.10.0", "9.1.0"},
      {"2.9.0", "9.1.0"},
      {"2.8.0", "9.0.0"},
  }};
  for (const auto& [torch, cann] : kReleases) {
    if (Version::parse(torch) == Version::parse(libtorch)) return cann;
  }
  return std::nullopt;
}

Pair cann_with_driver(const std::string& cann, const std::string& driver) {
  const auto cann_version = Version::parse(cann), driver_version = Version::parse(driver);
  if (!cann_version || !driver_version) return Pair::unknown;
  static const std::array<Version, 7> kDrivers = {
      *Version::parse("25.0"),  // 25.0.X; a candidate counts for its release
      *Version::parse("25.2"), *Version::parse("25.3"), *Version::parse("25.5"),
      *Version::parse("25.7"), *Version::parse("26.0"), *Version::parse("26.1")};
  const auto column = std::find_if(kDrivers.begin(), kDrivers.end(), [&](const Version& known) {
    return same_start(*driver_version, {known.part(0), known.part(1)});
  });
  const int64_t major = cann_version->part(0), minor = cann_version->part(1);
  const bool known_cann = (major == 8 && minor == 5) || (major == 9 && minor <= 2);
  if (!known_cann) return Pair::unknown;
  if (column == kDrivers.end()) return *driver_version < kDrivers[0] ? Pair::refused : Pair::unknown;
  // Oldest column with a "Y" in the row of this CANN.
  const size_t oldest = major == 9 && minor == 2 ? 2 : major == 9 && minor == 1 ? 1 : 0;
  return static_cast<size_t>(column - kDrivers.begin()) >= oldest ? Pair::published : Pair::refused;
}

Pair firmware_in_ranges(const std::string& firmware, const std::string& ranges) {
  const auto version = Version::parse(firmware);
  if (!version) return Pair::unknown;
  bool any = false;
  for (size_t open = ranges.find('['); open != std::string::npos; open = ranges.find('[', open + 1)) {
    const size_t comma = ranges.find(',', open), close = ranges.find(']', open);
    if (comma == std::string::npos || close == std::string::npos || comma > close) return Pair::unknown;
    const auto first = Version::parse(ranges.substr(open + 1, comma - open - 1));
    const auto last = Version::parse(ranges.substr(comma + 1, close - comma - 1));
    if (!first || !last) return Pair::unknown;
    any = true;
    // "8.9.9" closes over 8.9.9.0.1.231 too.
    const bool inside_last = *version <= *last || same_start(*version, {last->part(0), last->part(1), last->part(2)});
    if (*version >= *first && inside_last) return Pair::published;
  }
  return any ? Pair::refused : Pair::unknown;
}

}  // namespace glmimage::doctor
