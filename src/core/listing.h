#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

namespace glmimage {

// "a, b, c": the first `most` of `names`, and ", …" where there are more.
inline std::string listed(const std::vector<std::string>& names, size_t most = 8) {
  std::string out;
  for (size_t i = 0; i < std::min(names.size(), most); ++i) out += (i ? ", " : "") + names[i];
  return names.size() > most ? out + ", …" : out;
}

}  // namespace glmimage
