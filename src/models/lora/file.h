#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/parameters.h"
#include "core/safetensors.h"

namespace glmimage {

// The models an adapter can change.
enum class LoraPart { dit, ar };

// How an adapter file calls the modules it changes.
enum class LoraPath {
  dotted,       // PEFT, diffusers, ComfyUI: "transformer_blocks.0.attn1.to_q"
  underscored,  // kohya: "transformer_blocks_0_attn1_to_q"
};

// One pair of matrices of an adapter file.
struct LoraEntry {
  std::string stem;              // both tensors' names up to what tells them apart
  std::optional<LoraPart> part;  // unset: the name does not tell
  std::string path;              // the module's, without what names the part
  LoraPath style = LoraPath::dotted;
  std::string a_name, b_name;
  LowRank pair;      // mapped, in its stored type; scale = alpha / rank
  double alpha = 0;  // as the file says; without that the rank
};

// An adapter file, read and held to itself; which model it fits is lora.h's question. Tensors stay mapped.
//
// Names: <stem>.lora_A.weight and .lora_B.weight, or .lora_down.weight and .lora_up.weight, with an optional
// <stem>.alpha of one number. A stem is one of
//   [transformer. | vision_language_encoder.][base_model.model.]<path>   PEFT, diffusers
//   diffusion_model.<path>                                               ComfyUI; the diffusion transformer
//   lora_unet_<path with _>, lora_transformer_<path with _>              kohya; the diffusion transformer
//   lora_te_<path with _>, lora_te1_<path with _>                        kohya; the language model, as its text encoder
// alpha: <stem>.alpha, else the file's metadata as diffusers writes it ("lora_adapter_metadata"), else, for PEFT's
// names, adapter_config.json in the same folder, else the rank.
struct LoraFile {
  // A file, or a folder as PEFT (adapter_model.safetensors) and diffusers (pytorch_lora_weights.safetensors) write it.
  // Throws ErrorKind::checkpoint naming file and tensor: half a pair, ranks that differ or are 0, a wrong number of
  // dimensions, types that are no floats, adapters of another kind (DoRA, LoHa, LoKr, …).
  static LoraFile open(const std::filesystem::path& path);
  static LoraFile read(const SafetensorsFile& file);
  // Whether any tensor has an adapter's name.
  static bool is_adapter(const SafetensorsFile& file);

  std::filesystem::path path;
  std::vector<LoraEntry> entries;
  std::vector<std::string> unknown;  // tensors that are no part of an adapter
};

// "transformer" or "vision_language_encoder": what stands before a part's modules in PEFT's and diffusers' names.
const char* lora_prefix(LoraPart part);

}  // namespace glmimage
