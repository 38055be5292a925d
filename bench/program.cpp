#include "bench/program.h"

#include <c10/util/Exception.h>

#include <cstdio>
#include <exception>
#include <fstream>

#include "core/error.h"

namespace glmimage::bench {

void measure_and_write(const std::string& out, const std::function<nlohmann::ordered_json()>& measure) {
  std::ofstream file;
  if (!out.empty()) {
    file.open(out);
    if (!file) fail(ErrorKind::usage, out, ": cannot be written");
  }
  const std::string text = measure().dump(2);
  if (out.empty()) {
    std::printf("%s\n", text.c_str());
  } else if (!(file << text << '\n').flush()) {
    fail(ErrorKind::usage, out, ": cannot be written; is the disk full?");
  }
}

int run_program(const char* name, int (*body)(int, char**), int argc, char** argv) {
  try {
    return body(argc, argv);
  } catch (const c10::Error& error) {
    std::fprintf(stderr, "%s: %s\n", name, error.what_without_backtrace());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", name, error.what());
  }
  return 1;
}

}  // namespace glmimage::bench
