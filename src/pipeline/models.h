#pragma once

#include <filesystem>

#include "core/parameters.h"
#include "models/ar/model.h"
#include "models/dit/model.h"
#include "models/glyph/encoder.h"
#include "models/vae/vae.h"
#include "models/visual_tokenizer/visual_tokenizer.h"

namespace glmimage {

// The five models of a checkpoint in the published layout.
struct Models {
  // On the device at::kMeta tensors have a type and a shape and no values: a sketch, from headers alone.
  static Models open(const std::filesystem::path& folder, const Placement& placement) {
    return {.ar = ArModel::open(folder / "vision_language_encoder", placement),
            .visual_tokenizer = VisualTokenizer::open(folder / "vision_language_encoder", placement),
            .glyph = GlyphEncoder::open(folder / "text_encoder", placement),
            .dit = DitModel::open(folder / "transformer", placement),
            .vae = Vae::open(folder / "vae", placement)};
  }

  ArModel ar;
  VisualTokenizer visual_tokenizer;
  GlyphEncoder glyph;
  DitModel dit;
  Vae vae;
};

}  // namespace glmimage
