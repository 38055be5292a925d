#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace glmimage::train {

// The captions of a text file: every line that is not blank is one, without the white space around it.
std::vector<std::string> captions_of_text(const std::string& text);

// The captions of a JSON object: "caption" or "text" (a string, or a list of them) or "captions" (the same). Blank ones
// are left out. Throws ErrorKind::usage naming `name` and the field when it is of another type.
std::vector<std::string> captions_of_json(const nlohmann::json& object, const std::string& name);

// "repeats", 1 when missing. Throws ErrorKind::usage unless it is a whole number from 1 to 10,000.
int64_t repeats_of_json(const nlohmann::json& object, const std::string& name);

// An object in JSON. Throws ErrorKind::usage naming `name`.
nlohmann::json parse_json_object(const std::string& text, const std::string& name);

}  // namespace glmimage::train
