#include "train/stages/text_prior.h"

namespace glmimage::train {

PriorRequest text_prior(const ArConfig& config, const ChatTemplate& chat, const SamplerOptions& sampling,
                        const std::string& prompt, Grid target) {
  PromptParts parts{.text = prompt, .target = {target.height, target.width}, .draft = {}, .sources = {}};
  parts.draft = draft_grid(parts.target, config.draft_size);
  return {.input_ids = chat.build(parts).ids,
          .sources = {},
          .target = target,
          .draft = Grid{parts.draft->height, parts.draft->width},
          .sampling = sampling};
}

}  // namespace glmimage::train
