#include "train/stages/starting_point.h"

#include "core/error.h"
#include "core/rng.h"
#include "core/weight_files.h"
#include "models/lora/lora.h"
#include "train/data/content_hash.h"
#include "train/random.h"

namespace glmimage::train {
namespace fs = std::filesystem;

namespace {

JsonObject config_in(const fs::path& folder) { return JsonObject::open(folder / "config.json"); }

bool has_part(const fs::path& init, const char* part) { return fs::is_directory(init / part); }

// INIT may be a part's own folder: what it is shows in its configuration.
void read_part_itself(const fs::path& init, Preset& preset) {
  if (!fs::is_regular_file(init / "config.json")) return;
  const JsonObject config = config_in(init);
  if (config.has("block_out_channels")) preset.vae = VaeConfig::from_json(config);
  if (config.has("vision_config")) {
    const auto visual = VisualTokenizerConfig::from_json(config);
    preset.vision = visual.vision;
    preset.vq = visual.vq;
  }
}

int64_t picture_size(const StageOptions& options, const Preset& preset) {
  const fs::path& init = options.init;
  if (has_part(init, "vae")) return preset.vae.sample_size;
  if (has_part(init, "processor")) return preset.preprocess.min_side();
  if (!options.vae.empty()) return VaeConfig::from_json(config_in(vae_folder(options))).sample_size;
  if (fs::is_regular_file(init / "config.json") && preset.vae.sample_size > 0 &&
      config_in(init).has("block_out_channels")) {
    return preset.vae.sample_size;
  }
  return preset.picture_size;
}

}  // namespace

Preset starting_preset(const StageOptions& options) {
  Preset preset = find_preset(options.config.preset);
  const fs::path& init = options.init;
  if (init.empty() && options.config.lora.rank > 0) {
    fail(ErrorKind::usage, "lora.rank is ", options.config.lora.rank,
         ": an adapter changes a checkpoint, and none is named: --init DIR");
  }
  if (init.empty()) return preset;
  if (!fs::is_directory(init)) {
    fail(ErrorKind::checkpoint, init.string(),
         ": there is no such folder; --init names a checkpoint or the folder 'final' of a stage's run");
  }
  read_part_itself(init, preset);
  if (has_part(init, "vae")) preset.vae = VaeConfig::from_json(config_in(init / "vae"));
  if (has_part(init, "transformer")) preset.dit = DitConfig::from_json(config_in(init / "transformer"));
  if (has_part(init, "text_encoder")) preset.glyph = GlyphConfig::from_json(config_in(init / "text_encoder"));
  if (has_part(init, "processor")) preset.preprocess = PreprocessConfig::open(init / "processor");
  if (has_part(init, "vision_language_encoder")) {
    const JsonObject config = config_in(init / "vision_language_encoder");
    const auto visual = VisualTokenizerConfig::from_json(config);
    preset.ar = ArConfig::from_json(config);
    preset.vision = visual.vision;
    preset.vq = visual.vq;
    preset.draft_size = preset.ar.draft_size;
  }
  preset.picture_size = picture_size(options, preset);
  return preset;
}

fs::path init_part(const fs::path& init, const std::string& part) {
  if (fs::is_directory(init / part)) return init / part;
  if (fs::is_regular_file(init / "config.json")) return init;
  fail(ErrorKind::checkpoint, (init / part).string(),
       ": there is no such folder; --init names a checkpoint, or the folder 'final' of a run of this stage");
}

fs::path vae_folder(const StageOptions& options) {
  if (!options.vae.empty()) return fs::is_directory(options.vae / "vae") ? options.vae / "vae" : options.vae;
  if (!options.init.empty() && has_part(options.init, "vae")) return options.init / "vae";
  fail(ErrorKind::usage, "this stage needs a trained VAE: --vae DIR",
       options.init.empty() ? "" : concat("; ", (options.init / "vae").string(), " is not there"));
}

fs::path tokenizer_folder(const StageOptions& options) {
  const char* part = "vision_language_encoder";
  if (!options.tokenizer.empty()) {
    return fs::is_directory(options.tokenizer / part) ? options.tokenizer / part : options.tokenizer;
  }
  if (!options.init.empty() && has_part(options.init, part)) return options.init / part;
  fail(ErrorKind::usage, "this stage needs a trained tokenizer: --tokenizer DIR",
       options.init.empty() ? "" : concat("; ", (options.init / part).string(), " is not there"));
}

Foundations foundations_of(const StageOptions& options, const std::string& base, Foundations parts) {
  if (options.config.lora.rank > 0) {
    parts[concat(base, " in --init")] = hash_weights(init_part(options.init, base));
  }
  return parts;
}

void load_to_train(const ParameterList& list, const fs::path& folder, const std::vector<std::string>& ignored) {
  load_parameters(list, WeightFiles::open(folder), {.dtype = at::kFloat}, ignored);
  for (const Parameter& p : list) {
    if (p.quantised()) {
      fail(ErrorKind::usage, folder.string(), ": ", p.name, " is of few bits, which cannot be trained: begin from the ",
           "checkpoint it was made of, or train an adapter (--set lora.rank=16)");
    }
    // float32 weights are still the mapped file, which must not be written to.
    if (p.tensor->defined()) *p.tensor = p.tensor->clone(at::MemoryFormat::Contiguous);
  }
}

Placement frozen_placement(const StageOptions& options) {
  return {options.config.precision == Precision::bfloat16 ? at::kBFloat16 : at::kFloat, options.device};
}

ParameterList begin_adapter(const StageOptions& options, const ParameterList& model,
                            const std::vector<std::string>& attention) {
  const LoraSettings& lora = options.config.lora;
  const double alpha = lora.alpha > 0 ? lora.alpha : static_cast<double>(lora.rank);
  add_lora(model, {.rank = lora.rank, .alpha = alpha, .targets = lora.targets.empty() ? attention : lora.targets},
           make_generator(derive_seed(options.config.seed, Stream::init, 0)));
  return lora_parameters(model);
}

}  // namespace glmimage::train
