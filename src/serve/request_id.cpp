#include "serve/request_id.h"

#include <cstdio>
#include <random>

namespace glmimage::serve {

std::string new_request_id() {
  thread_local std::mt19937_64 generator{(uint64_t{std::random_device{}()} << 32) ^ std::random_device{}()};
  char text[24];
  std::snprintf(text, sizeof text, "req_%016llx", static_cast<unsigned long long>(generator()));
  return text;
}

}  // namespace glmimage::serve
