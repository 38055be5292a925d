#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "models/ar/model.h"
#include "models/tokens.h"
#include "pipeline/progress.h"
#include "pipeline/sampler.h"
#include "text/chat_template.h"

namespace glmimage {

// A prompt and the grids to fill. Text-to-image has a draft and no sources; editing has sources and no draft.
struct PriorRequest {
  std::vector<int64_t> input_ids;     // with one placeholder id per token of a source
  std::vector<VisualTokens> sources;  // in the order of the prompt
  Grid target;                        // 32-pixel tokens
  std::optional<Grid> draft;
  SamplerOptions sampling;
};

struct PriorResult {
  at::Tensor output_ids;  // (1, draft + target) int64 on the CPU, in the order drawn
  std::optional<VisualTokens> draft;
  VisualTokens target;
};

// What the prompt's template must agree with the language model in.
ControlIds control_ids(const ArConfig& config);

// The ids with the sources' visual ids in place of the placeholders, which must be equally many.
// Throws ErrorKind::usage otherwise.
std::vector<int64_t> place_sources(std::vector<int64_t> ids, const std::vector<VisualTokens>& sources,
                                   int64_t placeholder);

// What a picture's ids are drawn from: the logits after the prompt, and what the model needs to go on.
struct PriorStart {
  at::Tensor logits;  // (1, Vv)
  Rope rope;          // (1, count + 1, 1, R/2), of the ids to come
  KvCache cache;      // holds the prompt
  int64_t count;      // ids to draw: draft and target
};

// Checks the request and runs its prompt; reports that none of the ids is drawn. Throws as run_prior.
PriorStart begin_prior(const ArModel& model, const PriorRequest& request, Progress* progress);
// The picture of `output_ids`, (1, count).
PriorResult end_prior(const PriorRequest& request, at::Tensor output_ids);

// Draws the visual ids of a picture: exactly draft + target of them, all visual codes, whatever the model would say of
// control ids. `generator`: a CPU generator in the state torch's global one has in the reference, that is freshly
// seeded with the request's seed; the reference then draws once more, for the end id, which nothing reads and which is
// left out here. Reports Stage::visual_tokens per id and stops when cancelled; on a device the ids come
// in runs of 16, drawn there. Throws ErrorKind::usage when prompt,
// sources and grids disagree. Source: diffusers, GlmImagePipeline.generate_prior_tokens; transformers,
// GenerationMixin._sample.
PriorResult run_prior(const ArModel& model, const PriorRequest& request, at::Generator& generator,
                      Progress* progress = nullptr);

}  // namespace glmimage
