#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace glmimage::doctor {

// The system's files as seen below a folder: "/" on a running machine; the unpacked root of a container's image or of
// another machine, where links that begin with "/" stay inside. Nothing here throws: what cannot be read is not there.
class SystemTree {
 public:
  explicit SystemTree(std::filesystem::path root) : root_(std::move(root)) {}

  // Whether this is the machine the program runs on, so that its environment and devices may be asked too.
  bool is_running() const { return root_ == "/"; }
  bool has(const std::string& path) const;
  // The first 64 KiB of a regular file, by its absolute path in the tree.
  std::optional<std::string> read(const std::string& path) const;
  // Names in a folder that begin with `prefix`, sorted.
  std::vector<std::string> names(const std::string& folder, const std::string& prefix = "") const;
  // An environment variable of the running machine, if it is set and not empty; nothing for another root.
  std::optional<std::string> variable(const char* name) const;

 private:
  // The real place of `path`, links followed inside the tree; nothing where they go round or out.
  std::optional<std::filesystem::path> place(const std::string& path) const;

  std::filesystem::path root_;
};

// Lines of NAME=value, as the vendors' version files have them: the first of each name, without quotes and blanks.
std::map<std::string, std::string> named_values(const std::string& text);

}  // namespace glmimage::doctor
