#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "core/error.h"
#include "core/rng.h"
#include "models/ar/model.h"
#include "models/ar/positions.h"
#include "text/chat_template.h"
#include "train/data/corpus.h"
#include "train/losses/ar_loss.h"
#include "train/presets.h"
#include "train/random.h"
#include "train/run.h"
#include "train/stages/export.h"
#include "train/stages/processor.h"
#include "train/stages/stages.h"

namespace glmimage::train {
namespace {

// One sequence: prompt ‖ draft ‖ picture, every visual id and the end id after them to be predicted.
struct Sequence {
  std::vector<int64_t> ids;
  PositionTable positions;
  int64_t prompt_length = 0;
};

Sequence make_sequence(const ArConfig& config, const ChatTemplate& chat, const Corpus& corpus, const CorpusBatch& batch,
                       int64_t row) {
  const Grid target = corpus.grid(), draft = corpus.draft_grid();
  PromptParts parts;
  parts.text = batch.captions[static_cast<size_t>(row)];
  parts.target = {target.height, target.width};
  parts.draft = PromptGrid{draft.height, draft.width};
  Sequence sequence;
  sequence.ids = chat.build(parts).ids;
  sequence.prompt_length = static_cast<int64_t>(sequence.ids.size());
  const ArPositions positions =
      ar_positions(sequence.ids, {target, draft}, {config.begin_image_id, config.end_image_id});
  sequence.positions = positions.prefill;
  sequence.positions.append(positions.decode);  // its closing entry is the end id's place
  for (const at::Tensor& ids : {batch.draft_ids[row], batch.ids[row]}) {
    const int64_t* values = ids.const_data_ptr<int64_t>();
    sequence.ids.insert(sequence.ids.end(), values, values + ids.numel());
  }
  sequence.ids.push_back(config.end_image_id);
  return sequence;
}

// Only visual tokens and the end are supervised. The model reads all ids but the last.
SequenceBatch make_batch(const ArConfig& config, const ChatTemplate& chat, const Corpus& corpus,
                         const CorpusBatch& batch) {
  std::vector<Sequence> rows;
  size_t longest = 0;
  for (int64_t row = 0; row < static_cast<int64_t>(batch.captions.size()); ++row) {
    rows.push_back(make_sequence(config, chat, corpus, batch, row));
    longest = std::max(longest, rows.back().ids.size());
  }
  const int64_t count = static_cast<int64_t>(rows.size()), width = static_cast<int64_t>(longest) - 1;
  SequenceBatch out{
      at::full({count, width}, config.end_image_id, at::kLong), {}, at::full({count, width}, -100, at::kLong)};
  auto ids = out.ids.accessor<int64_t, 2>(), targets = out.targets.accessor<int64_t, 2>();
  std::vector<PositionTable> positions;
  for (int64_t i = 0; i < count; ++i) {
    Sequence& row = rows[static_cast<size_t>(i)];
    const int64_t length = static_cast<int64_t>(row.ids.size()) - 1;
    for (int64_t t = 0; t < length; ++t) {
      ids[i][t] = row.ids[static_cast<size_t>(t)];
      if (t + 1 >= row.prompt_length) targets[i][t] = row.ids[static_cast<size_t>(t) + 1];
    }
    positions.push_back(std::move(row.positions));
  }
  out.positions = positions_tensor(positions).narrow(2, 0, width);
  return out;
}

}  // namespace

void train_ar(const StageOptions& options) {
  const Beginning beginning = begin_run("ar", options);
  const Preset preset = find_preset(options.config.preset);
  const world::World world = world::World::open({.size = preset.picture_size, .languages = preset.languages});
  const std::filesystem::path final_folder = options.out / "final";
  const ArConfig config = write_text_parts(final_folder, preset, world.caption_corpus());
  const ChatTemplate chat = ChatTemplate::open(
      final_folder / "processor", {config.begin_image_id, config.end_image_id, config.image_placeholder_id});
  const Corpus corpus = Corpus::build(world, preset, options, CorpusParts::ids);

  ArModel model(config);
  ParameterList trained;
  model.list(trained);
  init_parameters(trained, make_generator(derive_seed(options.config.seed, Stream::init, 0)));

  // The last pictures of the corpus are held out.
  const int64_t held_out = std::min<int64_t>(options.config.held_out, corpus.size() / 8);
  const auto held_out_loss = [&]() -> nlohmann::json {
    at::NoGradGuard no_grad;
    double total = 0;
    int64_t batches = 0;
    for (int64_t first = corpus.size() - held_out; first + 32 <= corpus.size(); first += 32, ++batches) {
      std::vector<int64_t> indices(32);
      for (int64_t i = 0; i < 32; ++i) indices[static_cast<size_t>(i)] = first + i;
      total += sequence_loss(model, make_batch(config, chat, corpus, corpus.at(indices))).item<double>();
    }
    if (batches == 0) return nlohmann::json::object();
    return {{"loss", total / static_cast<double>(batches)}};
  };
  Run run(options, beginning, {.trained = trained, .held_out = held_out_loss});
  for (int64_t step = run.first_step(); run.running(step); ++step) {
    run.log(step, run.update(step, [&](int64_t pass) -> Pass {
      const CorpusBatch batch = corpus.batch(options.config.seed, pass, options.config.batch, held_out);
      return {.loss = sequence_loss(model, make_batch(config, chat, corpus, batch), activations_of(options.config))};
    }));
    run.finish_step(step);
  }
  if (run.stopping()) return;
  run.apply_ema();
  if (held_out > 0) run.note({{"held_out_loss", held_out_loss()}});
  export_language_model(final_folder / "vision_language_encoder", preset, model, options.tokenizer);
}

}  // namespace glmimage::train
