#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string_view>

#include "models/glyph/encoder.h"
#include "text/byte_tokenizer.h"

namespace glmimage {

constexpr int64_t kMaxGlyphIds = 2048;  // per quoted string, its end id included, a leading pad (glyph_ids) not

// The quoted strings of a prompt, each encoded on its own (equal to the reference's padded and masked batch), one after
// the other: (1, G, width) in the encoder's type, on its device. A prompt without quotes, and so also the empty prompt
// of the unconditional branch, gives one row. Throws ErrorKind::usage for a prompt that is not UTF-8.
// Reference: diffusers 0.39.0, GlmImagePipeline._get_glyph_embeds.
at::Tensor encode_glyphs(const GlyphEncoder& encoder, const ByteTokenizer& tokenizer, std::string_view prompt,
                         int64_t max_length = kMaxGlyphIds);

}  // namespace glmimage
