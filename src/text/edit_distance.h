#pragma once

#include <cstdint>
#include <string>

namespace glmimage {

// Levenshtein's distance in characters (code points) of two UTF-8 texts.
int64_t edit_distance(const std::string& a, const std::string& b);

// The distance over the length of the longer text: 0 when they are equal (both empty too), 1 when nothing fits.
double normalised_edit_distance(const std::string& a, const std::string& b);

}  // namespace glmimage
