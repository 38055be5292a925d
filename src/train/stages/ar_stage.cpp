#include <algorithm>
#include <fstream>
#include <iterator>

#include "core/error.h"
#include "core/rng.h"
#include "pipeline/prior.h"
#include "train/data/content_hash.h"
#include "train/distributed/sequence_parallel.h"
#include "train/random.h"
#include "train/run.h"
#include "train/stages/ar_sequences.h"
#include "train/stages/language_model.h"
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

// A new one learns its vocabulary from the data's captions; that of a checkpoint keeps the checkpoint's.
std::unique_ptr<StartedLanguageModel> start(const StageOptions& options, const Beginning& beginning,
                                            const Preset& preset, const DataSet& data, Foundations& foundations) {
  if (!options.init.empty()) return open_language_model(options, preset);
  const ArConfig config = learn_vocabulary(options, beginning, preset, data, foundations);
  everywhere(options, true);  // rank 0 has written the processor
  std::unique_ptr<StartedLanguageModel> out(new StartedLanguageModel{
      ArModel(config), ChatTemplate::open(options.out / "final" / "processor", control_ids(config)), {}});
  out->model.list(out->trained);
  init_parameters(out->trained, make_generator(derive_seed(options.config.seed, Stream::init, 0)));
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
  const std::unique_ptr<SequenceGroup> sequence = share_sequences(
      options.group, config.distributed.sequence_parallel, {preset.ar.heads, preset.ar.kv_heads, "language model"});
  const std::unique_ptr<StartedLanguageModel> started = start(options, beginning, preset, data, foundations);
  started->model.sequence = sequence.get();
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
  if (options.first()) export_started_model(options, model, visual, tokenizer);
}

}  // namespace glmimage::train
