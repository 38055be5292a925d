#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "models/ar/model.h"
#include "text/chat_template.h"
#include "train/data/picture_encoder.h"
#include "train/presets.h"
#include "train/rl/painter.h"
#include "train/stage_options.h"

namespace glmimage::train::rl {

// The visual ids that the transformer paints in roll-outs: one set for each prompt, whoever asks and whenever, so that
// pictures of a group differ by their noise alone.
class PromptIds {
 public:
  virtual ~PromptIds() = default;
  // -> (1, grid.count()) int64 on the CPU
  virtual at::Tensor of(const Prompt& prompt) = 0;

  // config.rl.visual_ids. language_model: written by that of --init, as in drawing, with a seed that is a hash of the
  // prompt; those of prompts that come again are kept. truth: those of the picture the world paints of the scene.
  // Throws ErrorKind::usage when --init has no such part; for truth `of` throws it for a prompt without a scene.
  static std::unique_ptr<PromptIds> open(const StageOptions& options, const Preset& preset, const Painter& painter);
};

// Fills chunk.tokens.
void set_tokens(Chunk& chunk, PromptIds& ids, Grid grid, at::Device device);

}  // namespace glmimage::train::rl
