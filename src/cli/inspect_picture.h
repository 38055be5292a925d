#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>

namespace glmimage::cli {

// Whether a file begins as a PNG, JPEG or WebP picture does; false for what cannot be read.
bool is_picture(const std::filesystem::path& file);

// What a picture says about itself: {"path", "format", "width", "height", "recipe", "parameters", "label",
// "digital_source_type", "creator_tool", "faults"}, null where it says nothing. What is broken is a fault, in words.
// Throws ErrorKind::usage naming the file when it is no picture.
nlohmann::ordered_json describe_picture_file(const std::filesystem::path& file);

// The same in words, on standard output.
void print_picture(const nlohmann::ordered_json& picture);

}  // namespace glmimage::cli
