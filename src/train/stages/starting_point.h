#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/parameters.h"
#include "train/presets.h"
#include "train/stage_options.h"
#include "train/state/beginning.h"

namespace glmimage::train {

// Where a stage begins: the sizes of its model, and weights where there is a checkpoint (--init) to go on from. That is
// a folder in the published layout, whole or a stage's `final/`, which is a part of one.

// The sizes of config.preset; with --init those of every part it has, and its picture size: the VAE's sample_size, else
// the smallest picture of its processor, else that of the VAE a later stage builds on. Throws ErrorKind::usage for an
// adapter without --init, ErrorKind::checkpoint as the parts' configurations do.
Preset starting_preset(const StageOptions& options);

// The folder of one part of --init: INIT/part, or INIT itself when it holds a config.json. Throws ErrorKind::checkpoint
// naming what was looked for.
std::filesystem::path init_part(const std::filesystem::path& init, const std::string& part);

// The folders of the finished parts a later stage builds on: --vae and --tokenizer, else those of --init. Throws
// ErrorKind::usage when there is neither.
std::filesystem::path vae_folder(const StageOptions& options);
std::filesystem::path tokenizer_folder(const StageOptions& options);

// `parts`, and of an adapter the weights of --init it is made for (`base`, a part of the checkpoint).
Foundations foundations_of(const StageOptions& options, const std::string& base, Foundations parts);

// Weights to train: float32 copies. Throws ErrorKind::checkpoint as load_parameters does.
void load_to_train(const ParameterList& list, const std::filesystem::path& folder,
                   const std::vector<std::string>& ignored_prefixes = {});
// Weights that stay as they are: on the run's device, in the type of the arithmetic (config.precision); on the CPU
// mapped where they are stored in it.
Placement frozen_placement(const StageOptions& options);

// Attaches the adapter config.lora asks for, on the attention's projections unless it names others, and returns what is
// to be trained. Throws ErrorKind::usage for targets that name no matrix.
ParameterList begin_adapter(const StageOptions& options, const ParameterList& model,
                            const std::vector<std::string>& attention);

}  // namespace glmimage::train
