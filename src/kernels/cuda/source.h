#pragma once

#include <string>

namespace glmimage::kernels::cuda {

// What device/<file>.cuh is compiled from: the arguments, the prelude and the file, as they were when the program was
// built (cmake/EmbedText.cmake). Throws ErrorKind::internal for a file that is not there.
std::string source_of(const std::string& file);

}  // namespace glmimage::kernels::cuda
