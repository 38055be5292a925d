#pragma once

#include <filesystem>

namespace glmimage::serve {

// Where the server keeps what it is not told to keep elsewhere: $GLM_IMAGE_DATA, else $XDG_DATA_HOME/glm-image, else
// ~/.local/share/glm-image. Made, readable by its owner alone. Throws ErrorKind::usage when the environment names none,
// ErrorKind::io when it cannot be made.
std::filesystem::path data_folder();

// The defaults of --queue and --blobs in it.
inline std::filesystem::path default_queue() { return data_folder() / "queue.sqlite"; }
inline std::filesystem::path default_blobs() { return data_folder() / "blobs"; }

}  // namespace glmimage::serve
