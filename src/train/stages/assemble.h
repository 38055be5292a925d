#pragma once

#include <filesystem>

namespace glmimage::train {

// The results a checkpoint is put together from: the stages' folders `final`.
struct TrainedParts {
  std::filesystem::path vae;  // with vae/, or that folder itself
  std::filesystem::path dit;  // with transformer/ and text_encoder/
  std::filesystem::path ar;   // with vision_language_encoder/, processor/ and tokenizer/
};

// Makes the folder `destination`: a checkpoint in the published layout, of copies of the parts, the published scheduler
// settings and a model_index.json. It appears whole or not at all. Throws ErrorKind::usage when `destination` is there
// and not empty, ErrorKind::checkpoint when a part is missing or two parts do not belong together, ErrorKind::io.
void assemble_checkpoint(const TrainedParts& parts, const std::filesystem::path& destination);

}  // namespace glmimage::train
