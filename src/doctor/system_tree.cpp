#include "doctor/system_tree.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <list>
#include <sstream>

namespace glmimage::doctor {
namespace {

namespace fs = std::filesystem;

constexpr std::streamsize kMostBytes = 64 * 1024;
constexpr int kMostLinks = 40;  // as Linux follows

std::string trimmed(const std::string& text) {
  const char* blanks = " \t\r\n\"";
  const size_t first = text.find_first_not_of(blanks);
  return first == std::string::npos ? "" : text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

}  // namespace

std::optional<fs::path> SystemTree::place(const std::string& path) const {
  fs::path inside = "/";
  const fs::path asked = path;
  std::list<fs::path> rest(asked.begin(), asked.end());
  int links = 0;
  while (!rest.empty()) {
    const fs::path part = rest.front();
    rest.pop_front();
    if (part == "/" || part == "." || part.empty()) continue;
    if (part == "..") {
      inside = inside.parent_path();
      continue;
    }
    std::error_code error;
    const fs::path next = inside / part;
    const fs::path target = fs::read_symlink(root_ / next.relative_path(), error);
    if (error) {
      inside = next;
      continue;
    }
    if (++links > kMostLinks) return std::nullopt;
    if (target.is_absolute()) inside = "/";
    rest.insert(rest.begin(), target.begin(), target.end());
  }
  return root_ / inside.relative_path();
}

bool SystemTree::has(const std::string& path) const {
  std::error_code error;
  const auto found = place(path);
  return found && fs::exists(*found, error);
}

std::optional<std::string> SystemTree::read(const std::string& path) const {
  std::error_code error;
  const auto found = place(path);
  if (!found || !fs::is_regular_file(*found, error)) return std::nullopt;
  std::ifstream file(*found, std::ios::binary);
  if (!file) return std::nullopt;
  std::string text(kMostBytes, '\0');
  file.read(text.data(), kMostBytes);
  text.resize(static_cast<size_t>(file.gcount()));
  return text;
}

std::vector<std::string> SystemTree::names(const std::string& folder, const std::string& prefix) const {
  std::vector<std::string> out;
  std::error_code error;
  const auto found = place(folder);
  if (!found) return out;
  for (fs::directory_iterator each(*found, error), end; !error && each != end; each.increment(error)) {
    const std::string name = each->path().filename().string();
    if (name.starts_with(prefix)) out.push_back(name);
  }
  std::sort(out.begin(), out.end());
  return out;
}

std::optional<std::string> SystemTree::variable(const char* name) const {
  const char* value = is_running() ? std::getenv(name) : nullptr;
  return value && *value ? std::optional<std::string>(value) : std::nullopt;
}

std::map<std::string, std::string> named_values(const std::string& text) {
  std::map<std::string, std::string> out;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const size_t equals = line.find('=');
    if (equals != std::string::npos) out.emplace(trimmed(line.substr(0, equals)), trimmed(line.substr(equals + 1)));
  }
  return out;
}

}  // namespace glmimage::doctor
