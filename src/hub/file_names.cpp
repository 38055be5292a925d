#include "hub/file_names.h"

#include <fnmatch.h>

#include <algorithm>
#include <cstdio>
#include <set>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "hub/own_files.h"

namespace glmimage::hub {
namespace {

// NAME.part.json must fit as well (255), and so must the folder's own path (4096).
constexpr size_t kLongestPart = 240, kLongestName = 2000;

[[noreturn]] void refuse(const std::string& name, const char* why) {
  fail(ErrorKind::io, "the server lists a file named '", shown_name(name), "', which ", why,
       "; nothing of this list is taken");
}

bool is_utf8(const std::string& text) {
  try {
    (void)nlohmann::json(text).dump();  // which refuses anything else
    return true;
  } catch (const nlohmann::json::exception&) {
    return false;
  }
}

void check_part(const std::string& name, const std::string& part) {
  if (part.empty()) refuse(name, "has an empty part");
  if (part == "." || part == "..") refuse(name, "could lead out of the folder");
  if (part.size() > kLongestPart) refuse(name, "is longer than file systems take");
  if (part.ends_with(kPartSuffix) || part.ends_with(kStateSuffix)) {
    refuse(name, "could be taken for a file that is half there");
  }
}

}  // namespace

std::string shown_name(const std::string& name) {
  std::string out;
  for (const unsigned char c : name.substr(0, 120)) {
    char escaped[8];
    std::snprintf(escaped, sizeof escaped, c >= 32 && c < 127 ? "%c" : "\\x%02x", c);
    out += escaped;
  }
  return name.size() > 120 ? out + "..." : out;
}

void check_file_name(const std::string& name) {
  if (name.empty()) refuse(name, "is empty");
  if (name.size() > kLongestName) refuse(name, "is longer than file systems take");
  if (name.front() == '/') refuse(name, "is absolute");
  if (name.find('\\') != std::string::npos) refuse(name, "has a backslash");
  if (std::any_of(name.begin(), name.end(), [](unsigned char c) { return c < 32 || c == 127; })) {
    refuse(name, "has control characters");
  }
  if (!is_utf8(name)) refuse(name, "is not UTF-8");
  size_t begin = 0;
  for (size_t slash; (slash = name.find('/', begin)) != std::string::npos; begin = slash + 1) {
    check_part(name, name.substr(begin, slash - begin));
    if (begin == 0 && name.substr(0, slash) == kOwnFolder) refuse(name, "is in a folder of this program's own");
  }
  check_part(name, name.substr(begin));
  if (name == kOwnFolder) refuse(name, "is a folder of this program's own");
}

void check_file_names(const std::vector<std::string>& names) {
  std::set<std::string> seen;
  for (const std::string& name : names) {
    check_file_name(name);
    if (!seen.insert(name).second) refuse(name, "is listed twice");
  }
  for (const std::string& name : names) {
    for (size_t slash = name.find('/'); slash != std::string::npos; slash = name.find('/', slash + 1)) {
      if (seen.count(name.substr(0, slash))) refuse(name, "is below a name that is a file itself");
    }
  }
}

bool matches(const std::string& name, const std::vector<std::string>& patterns) {
  return std::any_of(patterns.begin(), patterns.end(), [&](const std::string& pattern) {
    const std::string whole = pattern.ends_with('/') ? pattern + "*" : pattern;
    return ::fnmatch(whole.c_str(), name.c_str(), 0) == 0;
  });
}

}  // namespace glmimage::hub
