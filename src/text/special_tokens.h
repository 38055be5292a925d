#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace glmimage {

// What happens to the literal spelling of a special token ("<|image|>", "</s>") inside a text.
enum class SpecialTokens {
  parse,    // it becomes the special token's id, as in the Python reference
  as_text,  // it is tokenised like any other text, so a user's words can never act as control tokens
};

// Names of the visual ids in the vocabulary: "<|dit_token_7|>".
constexpr std::string_view kDitTokenPrefix = "<|dit_token_";
std::string dit_token(int64_t index);

}  // namespace glmimage
