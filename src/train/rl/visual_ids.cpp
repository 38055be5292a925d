#include "train/rl/visual_ids.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>

#include "core/autocast.h"
#include "core/error.h"
#include "core/rng.h"
#include "train/data/content_hash.h"
#include "train/stages/starting_point.h"
#include "train/stages/text_prior.h"

namespace glmimage::train::rl {
namespace {

class WrittenIds : public PromptIds {
 public:
  WrittenIds(const StageOptions& options, Grid grid)
      : grid_(grid),
        device_(options.device),
        model_(ArModel::load(init_part(options.init, "vision_language_encoder"), frozen_placement(options))),
        chat_(ChatTemplate::open(options.init / "processor", control_ids(model_.config))) {
    const GenerationConfig generation = GenerationConfig::open(options.init / "vision_language_encoder");
    sampling_ = {.temperature = generation.temperature, .top_p = generation.top_p, .top_k = generation.top_k};
  }

  at::Tensor of(const Prompt& prompt) override {
    if (const auto found = known_.find(prompt.text); found != known_.end()) return found->second;
    at::NoGradGuard no_grad;
    const Autocast none(device_, std::nullopt);
    at::Generator generator = make_generator(hash_text(prompt.text)[0]);
    const at::Tensor ids =
        run_prior(model_, text_prior(model_.config, chat_, sampling_, prompt.text, grid_), generator).target.ids;
    if (known_.size() >= kMostKnown) known_.clear();
    known_.emplace(prompt.text, ids);
    return ids;
  }

 private:
  static constexpr size_t kMostKnown = 1 << 16;
  Grid grid_;
  at::Device device_;
  ArModel model_;
  ChatTemplate chat_;
  SamplerOptions sampling_;
  std::map<std::string, at::Tensor> known_;
};

class TruthIds : public PromptIds {
 public:
  TruthIds(const StageOptions& options, const Preset& preset, Grid grid)
      : grid_(grid),
        world_(world::World::open({.size = preset.picture_size, .languages = options.config.data_config.languages})),
        encoder_(tokenizer_folder(options), preset.preprocess, preset.draft_size, options.device) {}

  at::Tensor of(const Prompt& prompt) override {
    if (!prompt.scene) {
      fail(ErrorKind::usage, "rl.visual_ids=truth paints what the world's picture says, and the prompt '", prompt.text,
           "' is no scene of the world");
    }
    DataBatch batch;
    batch.pictures = {world_.render(*prompt.scene)};
    return encoder_.encode(batch).narrow(1, 0, grid_.count()).to(at::kLong);
  }

 private:
  Grid grid_;
  world::World world_;
  TokenEncoder encoder_;
};

}  // namespace

std::unique_ptr<PromptIds> PromptIds::open(const StageOptions& options, const Preset& preset, const Painter& painter) {
  switch (options.config.rl.visual_ids) {
    case VisualIds::language_model: return std::make_unique<WrittenIds>(options, painter.grid());
    case VisualIds::truth: break;
  }
  return std::make_unique<TruthIds>(options, preset, painter.grid());
}

void set_tokens(Chunk& chunk, PromptIds& ids, Grid grid, at::Device device) {
  std::vector<at::Tensor> rows;
  const Prompt* last = nullptr;
  for (const Prompt* prompt : chunk.prompts) {
    rows.push_back(prompt == last ? rows.back() : ids.of(*prompt));
    last = prompt;
  }
  chunk.tokens = {grid, at::cat(rows).to(device)};
}

}  // namespace glmimage::train::rl
