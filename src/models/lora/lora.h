#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/parameters.h"
#include "models/lora/file.h"

namespace glmimage {

// Low-rank adapters (LoRA) of the diffusion transformer and the language model. A pair is either merged into its
// matrix, which costs nothing while drawing, or attached beside it, where it can be trained and the matrix stays as it
// is. The functions read the models' own parameter lists: an adapter can change every matrix of a Linear, and nothing
// else.

// Pairs by the name of the matrix they change ("transformer_blocks.0.attn1.to_q.weight"), float32 on the CPU.
using LowRankMap = std::map<std::string, LowRank>;

// The models at hand; null: not this one. Lists may be of models without weights.
struct LoraModels {
  const ParameterList* dit = nullptr;
  const ParameterList* ar = nullptr;
};

// An adapter file, matched to the models.
struct Lora {
  LowRankMap dit, ar;
  std::vector<std::string> unmatched;  // names of the file (of a pair: the first matrix's) that fit no matrix
};

// Finds each pair's matrix. Throws ErrorKind::checkpoint when none fits, when shapes disagree (all are named), when two
// pairs change one matrix, and for values that are not finite.
Lora match_lora(const LoraFile& file, const LoraModels& models);

// total += scale · more. A scale of 0 leaves total as it is. Ranks add up where both change a matrix.
void add_scaled(LowRankMap& total, const LowRankMap& more, double scale);

// W becomes W + scale · b a, computed in float32 and cast to W's type; a new tensor, so mapped weights stay unwritten.
// Pairs of matrices of few bits are attached instead.
// Matrices that were joined (ArModel::fuse) must be joined again.
void merge_lora(const ParameterList& list, const LowRankMap& pairs);

// Puts pairs beside their matrices, float32, on the matrices' device, in place of pairs that are there.
void attach_lora(const ParameterList& list, const LowRankMap& pairs);

// What a new adapter is.
struct LoraSpec {
  int64_t rank = 16;
  double alpha = 16;                 // the pair works alpha / rank strong
  std::vector<std::string> targets;  // modules, by their name or its end: "attn1.to_q", "q_proj"
};

// Attaches new pairs to train, as PEFT begins them: a uniform in ±1/√in, b zero, so that nothing changes yet. Throws
// ErrorKind::usage for a rank below 1 and targets that name no matrix.
void add_lora(const ParameterList& list, const LoraSpec& spec, at::Generator generator);

// The attached pairs' tensors alone, under PEFT's names (<module>.lora_A.weight, <module>.lora_B.weight), for an
// optimiser and saved states. Points into the module, like the list it comes from.
ParameterList lora_parameters(const ParameterList& list);

// Writes the attached pairs as diffusers does: transformer.<module>.lora_A.weight and so on (of the language model
// vision_language_encoder.…), ranks and alphas in the metadata. Throws ErrorKind::io.
void write_lora(const std::filesystem::path& file, const LoraModels& models,
                std::optional<at::ScalarType> dtype = std::nullopt);

}  // namespace glmimage
