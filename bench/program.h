#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>

namespace glmimage::bench {

// What `measure` returns, to the file where one is named, else to standard output. The file is opened first: nobody
// measures for an hour in vain. Throws ErrorKind::usage when it cannot be written.
void measure_and_write(const std::string& out, const std::function<nlohmann::ordered_json()>& measure);

// `body` with its errors on standard error, after the program's name. -> the program's exit code
int run_program(const char* name, int (*body)(int, char**), int argc, char** argv);

}  // namespace glmimage::bench
