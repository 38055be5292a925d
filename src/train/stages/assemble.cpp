#include "train/stages/assemble.h"

#include <nlohmann/json.hpp>
#include <string>
#include <system_error>

#include "core/error.h"
#include "core/json.h"
#include "core/part_file.h"
#include "models/ar/config.h"
#include "models/dit/config.h"
#include "models/glyph/config.h"
#include "models/vae/config.h"
#include "pipeline/scheduler.h"
#include "train/stages/export.h"

namespace glmimage::train {
namespace fs = std::filesystem;
using nlohmann::json;

namespace {

// Which library and class the reference opens each folder with.
json model_index() {
  return {{"_class_name", "GlmImagePipeline"},
          {"_diffusers_version", "0.37.0.dev0"},
          {"processor", {"transformers", "GlmImageProcessor"}},
          {"scheduler", {"diffusers", "FlowMatchEulerDiscreteScheduler"}},
          {"text_encoder", {"transformers", "T5EncoderModel"}},
          {"tokenizer", {"transformers", "ByT5Tokenizer"}},
          {"transformer", {"diffusers", "GlmImageTransformer2DModel"}},
          {"vae", {"diffusers", "AutoencoderKL"}},
          {"vision_language_encoder", {"transformers", "GlmImageForConditionalGeneration"}}};
}

void copy_part(const fs::path& from, const fs::path& to) {
  if (!fs::is_directory(from)) {
    fail(ErrorKind::checkpoint, from.string(), ": there is no such folder; has its stage run to the end?");
  }
  std::error_code error;
  fs::copy(from, to, fs::copy_options::recursive, error);
  if (error) fail(ErrorKind::io, to.string(), ": cannot be copied from ", from.string(), ": ", error.message());
}

template <typename Config>
Config read_config(const fs::path& folder) {
  return Config::from_json(JsonObject::open(folder / "config.json"));
}

// Parts of different presets or tokenizers fit the layout but not each other.
void check_parts(const fs::path& checkpoint) {
  const auto vae = read_config<VaeConfig>(checkpoint / "vae");
  const auto dit = read_config<DitConfig>(checkpoint / "transformer");
  const auto glyph = read_config<GlyphConfig>(checkpoint / "text_encoder");
  const auto ar = read_config<ArConfig>(checkpoint / "vision_language_encoder");
  const auto agree = [](const char* what, int64_t a, int64_t b) {
    if (a != b)
      fail(ErrorKind::checkpoint, "the parts have different ", what, ", ", a, " and ", b, ": of two presets?");
  };
  agree("latent channels (vae, dit)", vae.latent_channels, dit.in_channels);
  agree("glyph widths (text encoder, dit)", glyph.width, dit.text_dim);
  agree("codes (ar, dit)", ar.codebook_size, dit.codes);
}

void check_destination(const fs::path& folder) {
  if (fs::exists(folder) && (!fs::is_directory(folder) || !fs::is_empty(folder))) {
    fail(ErrorKind::usage, folder.string(), ": is already there; name a new folder or remove this one");
  }
}

}  // namespace

void assemble_checkpoint(const TrainedParts& parts, const fs::path& destination) {
  const fs::path target = without_trailing_slash(destination);
  check_destination(target);
  PartFolder folder(target);
  const fs::path& partial = folder.path();
  copy_part(fs::is_directory(parts.vae / "vae") ? parts.vae / "vae" : parts.vae, partial / "vae");
  for (const char* name : {"transformer", "text_encoder"}) copy_part(parts.dit / name, partial / name);
  for (const char* name : {"vision_language_encoder", "processor", "tokenizer"})
    copy_part(parts.ar / name, partial / name);
  write_json_file(partial / "scheduler" / "scheduler_config.json", SchedulerConfig().to_json());
  write_json_file(partial / "model_index.json", model_index());
  check_parts(partial);
  folder.commit();
}

}  // namespace glmimage::train
