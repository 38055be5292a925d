#include <algorithm>
#include <fstream>
#include <iterator>

#include "core/error.h"
#include "core/rng.h"
#include "models/ar/model.h"
#include "models/lora/lora.h"
#include "pipeline/prior.h"
#include "text/chat_template.h"
#include "train/data/content_hash.h"
#include "train/random.h"
#include "train/run.h"
#include "train/stages/ar_sequences.h"
#include "train/stages/processor.h"
#include "train/stages/stage_data.h"
#include "train/stages/stages.h"
#include "train/stages/starting_point.h"

namespace glmimage::train {
namespace fs = std::filesystem;

namespace {

// What the BPE of a new checkpoint learns from: of very many captions a part, taken evenly.
std::vector<std::string> captions_to_learn(const DataSet& data) {
  constexpr int64_t kMost = 200'000;
  const int64_t stride = std::max<int64_t>(1, data.size() / kMost);
  std::vector<std::string> captions;
  for (int64_t i = 0; i < data.size(); i += stride) {
    captions.insert(captions.end(), data.captions(i).begin(), data.captions(i).end());
  }
  return captions;
}

std::string text_of(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

// The language model before the first step, and what reads its prompts. A new one learns its vocabulary from the data's
// captions; that of a checkpoint keeps the checkpoint's.
struct StartedModel {
  ArModel model;
  ChatTemplate chat;
  ParameterList trained;  // points into the model
};

// processor/ and tokenizer/ of a new language model, in final/ from the start. The same captions give the same
// vocabulary; a run that goes on refuses others, as the embeddings it saved would belong to other words.
ArConfig learn_vocabulary(const StageOptions& options, const Beginning& beginning, const Preset& preset,
                          const DataSet& data, Foundations& foundations) {
  // Every process learns it, rank 0's is kept.
  const fs::path made =
      options.out / (options.group ? concat("vocabulary-", options.group->rank(), ".part") : "vocabulary.part");
  const ArConfig config = write_text_parts(made, preset, captions_to_learn(data));
  foundations["vocabulary of its captions"] = hex(hash_text(text_of(made / "processor" / "tokenizer.json")));
  try {
    check_foundations(beginning, foundations);
    if (options.first()) copy_text_parts(made, options.out / "final");
  } catch (...) {
    fs::remove_all(made);
    throw;
  }
  fs::remove_all(made);
  return config;
}

std::unique_ptr<StartedModel> start(const StageOptions& options, const Beginning& beginning, const Preset& preset,
                                    const DataSet& data, Foundations& foundations) {
  const fs::path final_folder = options.out / "final";
  const bool adapter = options.config.lora.rank > 0;
  ArConfig config = preset.ar;
  fs::path weights, processor = final_folder / "processor";
  if (options.init.empty()) {
    config = learn_vocabulary(options, beginning, preset, data, foundations);
  } else {
    weights = init_part(options.init, "vision_language_encoder");
    if (adapter) {
      processor = options.init / "processor";
    } else if (options.first()) {
      copy_text_parts(options.init, final_folder);
    }
  }
  everywhere(options, true);  // rank 0 has written the processor
  std::unique_ptr<StartedModel> out(
      new StartedModel{ArModel(config), ChatTemplate::open(processor, control_ids(config)), {}});
  ParameterList list;
  out->model.list(list);
  if (options.init.empty()) {
    init_parameters(list, make_generator(derive_seed(options.config.seed, Stream::init, 0)));
  } else if (adapter) {
    load_parameters(list, WeightFiles::open(weights), frozen_placement(options), ar_ignored_prefixes());
  } else {
    load_to_train(list, weights, ar_ignored_prefixes());
  }
  out->trained = adapter ? begin_adapter(options, list, {"q_proj", "k_proj", "v_proj", "o_proj"}) : list;
  return out;
}

}  // namespace

void train_ar(const StageOptions& options) {
  const Beginning beginning = begin_run("ar", options);
  const TrainConfig& config = options.config;
  const Preset preset = starting_preset(options);
  DataSet data =
      open_data(options, beginning, preset, {.area = preset.picture_size, .synthetic = 4 * preset.synthetic_pictures});
  const fs::path tokenizer = tokenizer_folder(options);
  auto tokens = std::make_unique<TokenEncoder>(tokenizer, preset.preprocess, preset.draft_size, options.device);
  const VisualTokenizerConfig visual = tokens->config();
  if (visual.vq.codes != preset.ar.codebook_size) {
    fail(ErrorKind::usage, "the tokenizer in ", tokenizer.string(), " has ", visual.vq.codes,
         " codes and the language model ", preset.ar.codebook_size, "; of two presets?");
  }
  Foundations foundations = foundations_of(options, "vision_language_encoder", {{"tokenizer", tokens->key()}});
  check_foundations(beginning, foundations);
  const std::unique_ptr<StartedModel> started = start(options, beginning, preset, data, foundations);
  ArModel& model = started->model;
  const EncodedData encoded(data, std::move(tokens), nullptr, encoded_options(options));
  if (!everywhere(options, encoded.complete())) return;

  const auto pass_of = [&](const EncodedBatch& batch) -> Pass {
    const SequenceBatch sequences =
        make_sequences(model.config, started->chat, batch, config.ar.draft_weight).to(options.device);
    return {.loss = sequence_loss(model, sequences, activations_of(config)), .weight = target_weight(sequences)};
  };
  const auto held_out = [&] { return held_out_loss(data, encoded, pass_of); };
  Run run(options, beginning,
          {.trained = started->trained,
           .foundations = foundations,
           .stacks = {{"model.language_model.layers", &model.listener}},
           .held_out = held_out});
  auto batches = run.prefetch<EncodedBatch>([&](int64_t pass) { return encoded.batch(pass); });
  for (int64_t step = run.first_step(); run.running(step); ++step) {
    run.log(step, run.update(step, [&](int64_t) -> Pass {
      Pass pass = pass_of(batches.next());
      pass.values = {{"wait", batches.wait_share()}};
      return pass;
    }));
    run.finish_step(step);
  }
  if (run.stopping()) return;
  run.apply_ema();
  run.note_held_out();
  finish_data(options, data);
  if (!options.first()) return;
  ParameterList list;
  model.list(list);
  if (config.lora.rank > 0) {
    fs::create_directories(options.out / "final");
    write_lora(options.out / "final" / "adapter.safetensors", {.ar = &list});
  } else {
    export_language_model(options.out / "final" / "vision_language_encoder", model, visual, tokenizer);
  }
}

}  // namespace glmimage::train
