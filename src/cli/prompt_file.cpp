#include "cli/prompt_file.h"

#include <cstdint>
#include <filesystem>
#include <fstream>

#include "core/error.h"
#include "text/utf8.h"

namespace glmimage::cli {

std::vector<std::string> read_prompts(std::istream& in, const std::string& name) {
  std::vector<std::string> out;
  int64_t number = 1;
  for (std::string line; std::getline(in, line); ++number) {
    if (number == 1 && line.starts_with("\xEF\xBB\xBF")) line.erase(0, 3);
    const size_t end = line.find_last_not_of(" \t\r\n");
    if (end == std::string::npos) continue;
    line.resize(end + 1);
    require_utf8(line, concat(name, ":", number, ": a prompt"));
    out.push_back(std::move(line));
  }
  return out;
}

std::vector<std::string> read_prompt_file(const std::string& file) {
  if (std::filesystem::is_directory(file)) fail(ErrorKind::usage, file, ": is a folder; expected a file of prompts");
  std::ifstream in(file, std::ios::binary);
  if (!in) fail(ErrorKind::usage, file, ": the prompt file cannot be opened");
  std::vector<std::string> out = read_prompts(in, file);
  if (in.bad()) fail(ErrorKind::usage, file, ": reading the prompt file failed");
  if (out.empty()) fail(ErrorKind::usage, file, ": holds no prompt; expected one a line");
  return out;
}

}  // namespace glmimage::cli
