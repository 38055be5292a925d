#pragma once

#include <istream>
#include <string>
#include <vector>

namespace glmimage::cli {

// One prompt a line, without white space at its end; empty lines are passed over. `name` stands for the source in
// messages. Throws ErrorKind::usage for what is not UTF-8.
std::vector<std::string> read_prompts(std::istream& in, const std::string& name);

// The same of a file. Throws ErrorKind::usage when it cannot be read or holds no prompt.
std::vector<std::string> read_prompt_file(const std::string& file);

}  // namespace glmimage::cli
