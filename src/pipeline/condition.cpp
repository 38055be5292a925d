#include "pipeline/condition.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/tensor.h>

#include <vector>

#include "text/glyph_text.h"

namespace glmimage {

at::Tensor encode_glyphs(const GlyphEncoder& encoder, const ByteTokenizer& tokenizer, std::string_view prompt,
                         int64_t max_length) {
  std::vector<at::Tensor> rows;  // (1, T, width) each
  for (const std::vector<int64_t>& ids : glyph_ids(tokenizer, prompt, max_length)) {
    rows.push_back(encoder.forward(at::tensor(ids, at::kLong).unsqueeze(0).to(encoder.device())));
  }
  return at::cat(rows, 1);
}

}  // namespace glmimage
