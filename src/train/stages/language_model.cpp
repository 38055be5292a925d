#include "train/stages/language_model.h"

#include "models/lora/lora.h"
#include "pipeline/prior.h"
#include "train/stages/processor.h"
#include "train/stages/stage_data.h"
#include "train/stages/starting_point.h"

namespace glmimage::train {
namespace fs = std::filesystem;

std::unique_ptr<StartedLanguageModel> open_language_model(const StageOptions& options, const Preset& preset) {
  const bool adapter = options.config.lora.rank > 0;
  const fs::path weights = init_part(options.init, "vision_language_encoder"), final_folder = options.out / "final";
  if (!adapter && options.first()) copy_text_parts(options.init, final_folder);
  everywhere(options, true);  // rank 0 has written the processor
  const fs::path processor = adapter ? options.init / "processor" : final_folder / "processor";
  std::unique_ptr<StartedLanguageModel> out(
      new StartedLanguageModel{ArModel(preset.ar), ChatTemplate::open(processor, control_ids(preset.ar)), {}});
  ParameterList list;
  out->model.list(list);
  if (adapter) {
    load_parameters(list, WeightFiles::open(weights), frozen_placement(options), ar_ignored_prefixes());
    out->trained = begin_adapter(options, list, {"q_proj", "k_proj", "v_proj", "o_proj"});
  } else {
    load_to_train(list, weights, ar_ignored_prefixes());
    out->trained = list;
  }
  return out;
}

void export_started_model(const StageOptions& options, ArModel& model, const VisualTokenizerConfig& visual,
                          const fs::path& tokenizer) {
  const fs::path folder = options.out / "final";
  if (options.config.lora.rank == 0) {
    return export_language_model(folder / "vision_language_encoder", model, visual, tokenizer);
  }
  ParameterList list;
  model.list(list);
  fs::create_directories(folder);
  write_lora(folder / "adapter.safetensors", {.ar = &list});
}

}  // namespace glmimage::train
