#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>
#include <string>
#include <vector>

#include "cli/generate_options.h"
#include "pipeline/recipe.h"

namespace glmimage::cli {

// The recipe in a picture's file. Throws ErrorKind::usage naming the file when it holds none, or a broken one.
Recipe load_recipe(const std::filesystem::path& picture);

// Puts the recipe's settings where `command` was given none. What the recipe names by content alone (weights, adapters,
// reference pictures) stays the user's to give.
void fill_from(const Recipe& recipe, const CLI::App& command, GenerateOptions& options);

// In what the pictures to be drawn would differ from the one with the recipe, although no option asks for it: other
// weights, adapters or reference pictures. One sentence each, which names what is wanted.
std::vector<std::string> differences(const Recipe& recipe, const Recipe& drawn);

// What may change a picture's last bits: another version of the program, another number of threads.
std::vector<std::string> doubts(const Recipe& recipe, const Recipe& drawn);

}  // namespace glmimage::cli
