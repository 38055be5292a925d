#pragma once

#include <string>

#include "pipeline/pipeline.h"

namespace glmimage::cli {

// "FILE" or "FILE:SCALE". What is a file (or folder) as it stands is taken as one, colons and all. Throws
// ErrorKind::usage for a scale that is no number, ErrorKind::checkpoint when there is no such file.
LoraChoice parse_lora(const std::string& text);

}  // namespace glmimage::cli
