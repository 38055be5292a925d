#include "train/stages/processor.h"

#include "core/json.h"
#include "core/weight_files.h"
#include "models/visual_tokenizer/config.h"
#include "text/processor_files.h"
#include "train/stages/export.h"

namespace glmimage::train {

ArConfig write_text_parts(const std::filesystem::path& checkpoint, const Preset& preset,
                          const std::vector<std::string>& captions) {
  ArConfig config = preset.ar;
  ProcessorOptions options;
  options.tokenizer.dit_tokens = config.visual_vocab_size;
  options.tokenizer.merges = preset.bpe_merges;
  options.begin = config.begin_image_id;
  options.end = config.end_image_id;
  options.picture_settings = preset.preprocess.to_json();
  const TrainedVocabulary vocabulary = write_processor(checkpoint / "processor", captions, options);
  write_byte_tokenizer(checkpoint / "tokenizer");
  config.vocab_size = vocabulary.size;
  config.image_placeholder_id = vocabulary.image;
  config.pad_id = vocabulary.end_of_text;
  config.draft_size = preset.draft_size;
  return config;
}

void export_language_model(const std::filesystem::path& folder, const Preset& preset, ArModel& model,
                           const std::filesystem::path& tokenizer) {
  nlohmann::json config = model.config.to_json();
  config.merge_patch(VisualTokenizerConfig{preset.vision, preset.vq}.to_json());
  write_json_file(folder / "config.json", config);
  GenerationConfig generation;
  generation.top_k = model.config.visual_vocab_size;
  generation.eos_id = model.config.end_image_id;
  generation.pad_id = model.config.image_placeholder_id;
  write_json_file(folder / "generation_config.json", generation.to_json());

  ParameterList list;
  model.list(list);
  NamedTensors tensors = named_tensors(list, at::kBFloat16);
  const WeightFiles vision = WeightFiles::open(tokenizer);
  for (const std::string& name : vision.names()) tensors.emplace_back(name, vision.tensor(name));
  write_safetensors(folder / "model.safetensors", tensors, {{"format", "pt"}});
}

}  // namespace glmimage::train
