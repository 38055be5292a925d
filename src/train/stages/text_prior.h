#pragma once

#include <string>

#include "models/ar/config.h"
#include "models/tokens.h"
#include "pipeline/prior.h"
#include "text/chat_template.h"

namespace glmimage::train {

// What the language model is asked for a picture of these words, of `target` visual tokens, behind its draft.
PriorRequest text_prior(const ArConfig& config, const ChatTemplate& chat, const SamplerOptions& sampling,
                        const std::string& prompt, Grid target);

}  // namespace glmimage::train
