#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/byte_tokenizer.h"

namespace glmimage {

// The quoted strings of a prompt, which the picture is to show as writing: '…', “…”, "…", 「…」, in this order of
// kinds, each kind from left to right (GlmImagePipeline.get_glyph_texts). An apostrophe counts as a quote; text inside
// two kinds is taken twice; empty strings are kept. No string at all: one empty string.
std::vector<std::string> glyph_strings(std::string_view prompt);

// Ids of these strings for the glyph encoder, one vector per string, none empty. When the number of strings is even,
// each begins with one padding id that counts as a real one (the reference takes the length of the list where it surely
// meant that of each string; kept for equality). `max_length` counts ids per string, without that padding id. Throws
// ErrorKind::usage when the prompt is not valid UTF-8.
std::vector<std::vector<int64_t>> glyph_ids(const ByteTokenizer& tokenizer, std::string_view prompt,
                                            int64_t max_length = 2048);
// The same with the published settings.
std::vector<std::vector<int64_t>> glyph_ids(std::string_view prompt, int64_t max_length = 2048);

}  // namespace glmimage
