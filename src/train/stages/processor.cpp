#include "train/stages/processor.h"

#include <algorithm>
#include <system_error>

#include "core/error.h"
#include "core/json.h"
#include "core/weight_files.h"
#include "models/visual_tokenizer/config.h"
#include "text/processor_files.h"
#include "train/stages/export.h"

namespace glmimage::train {
namespace fs = std::filesystem;

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
  config.vocab_size = std::max(config.vocab_size, vocabulary.size);
  config.image_placeholder_id = vocabulary.image;
  config.pad_id = vocabulary.end_of_text;
  config.draft_size = preset.draft_size;
  return config;
}

void copy_text_parts(const fs::path& from, const fs::path& checkpoint) {
  for (const char* part : {"processor", "tokenizer"}) {
    if (!fs::is_directory(from / part)) {
      fail(ErrorKind::checkpoint, (from / part).string(),
           ": there is no such folder; the language model of a checkpoint reads the prompts its own processor makes");
    }
    std::error_code error;
    fs::create_directories(checkpoint / part, error);
    fs::copy(from / part, checkpoint / part, fs::copy_options::recursive | fs::copy_options::overwrite_existing, error);
    if (error) fail(ErrorKind::io, (checkpoint / part).string(), ": cannot be written: ", error.message());
  }
}

void export_language_model(const fs::path& folder, ArModel& model, const VisualTokenizerConfig& visual,
                           const fs::path& tokenizer) {
  nlohmann::json config = model.config.to_json();
  config.merge_patch(visual.to_json());
  write_json_file(folder / "config.json", config);
  GenerationConfig generation;
  generation.top_k = model.config.visual_vocab_size;
  generation.eos_id = model.config.end_image_id;
  generation.pad_id = model.config.image_placeholder_id;
  write_json_file(folder / "generation_config.json", generation.to_json());

  ParameterList list;
  model.list(list);
  NamedTensors tensors = named_tensors(list, at::kBFloat16);
  const WeightFiles weights = WeightFiles::open(tokenizer);
  for (const std::string& name : weights.names()) {  // a language model may lie beside it
    if (name.starts_with("model.visual.") || name.starts_with("model.vqmodel."))
      tensors.emplace_back(name, weights.tensor(name));
  }
  write_safetensors(folder / "model.safetensors", tensors, {{"format", "pt"}});
}

}  // namespace glmimage::train
