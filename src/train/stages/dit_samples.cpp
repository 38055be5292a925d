#include "train/stages/dit_samples.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/randn.h>

#include <algorithm>

#include "core/error.h"
#include "core/rng.h"
#include "pipeline/condition.h"
#include "text/chat_template.h"
#include "text/processor_files.h"
#include "train/random.h"
#include "train/stages/starting_point.h"
#include "train/stages/text_prior.h"

namespace glmimage::train {
namespace fs = std::filesystem;

namespace {

constexpr size_t kHeldOut = 4;     // pictures
constexpr int64_t kSteps = 20;     // of drawing
constexpr double kGuidance = 1.5;  // as in drawing

// Rows of pictures under each other, on white.
Image make_sheet(const std::vector<std::vector<Image>>& rows) {
  Image sheet;
  for (const std::vector<Image>& row : rows) {
    int64_t width = 0, height = 0;
    for (const Image& image : row) width += image.width, height = std::max(height, image.height);
    sheet.width = std::max(sheet.width, width);
    sheet.height += height;
  }
  sheet.pixels.assign(static_cast<size_t>(sheet.width * sheet.height * 3), 255);
  int64_t top = 0;
  for (const std::vector<Image>& row : rows) {
    int64_t left = 0, height = 0;
    for (const Image& image : row) {
      for (int64_t y = 0; y < image.height; ++y) {
        std::copy_n(image.pixels.begin() + 3 * y * image.width, 3 * image.width,
                    sheet.pixels.begin() + 3 * ((top + y) * sheet.width + left));
      }
      left += image.width;
      height = std::max(height, image.height);
    }
    top += height;
  }
  return sheet;
}

VisualTokens tokens_of(const EncodedPictures& pictures) { return {pictures.grid, pictures.ids}; }

}  // namespace

DitSamples::DitSamples(const StageOptions& options, const Preset& preset, const DataSet& data,
                       const EncodedData& encoded, const LatentEncoder& vae)
    : seed_(options.config.seed), device_(options.device), vae_(vae) {
  at::NoGradGuard no_grad;
  if (options.config.prompts.empty()) {
    name_ = "held_out";
    take_held_out(data, encoded);
  } else {
    name_ = "prompts";
    take_prompts(options, preset);
  }
}

void DitSamples::take_held_out(const DataSet& data, const EncodedData& encoded) {
  for (const std::vector<int64_t>& record : data.lists(DataSet::Which::held_out, 1)) {
    if (samples_.size() == kHeldOut) break;
    DataBatch pictures = data.pictures(record);
    if (pictures.pictures.empty()) continue;  // broken
    const EncodedBatch batch = encoded.at(record).to(device_);
    Sample sample{batch.captions[0], tokens_of(batch.target), {}, std::move(pictures.pictures[0])};
    for (const EncodedPictures& reference : batch.references) {
      sample.references.push_back({reference.latents, tokens_of(reference),
                                   reference.grid.height * kPixelsPerVisualToken,
                                   reference.grid.width * kPixelsPerVisualToken});
    }
    samples_.push_back(std::move(sample));
  }
  if (samples_.empty()) {
    fail(ErrorKind::usage, "sample_every asks for sample pictures: hold some pictures out (held_out) or give prompts");
  }
}

void DitSamples::take_prompts(const StageOptions& options, const Preset& preset) {
  const fs::path folder = options.init / "vision_language_encoder", processor = options.init / "processor";
  if (options.init.empty() || !fs::is_directory(folder) || !fs::is_directory(processor)) {
    fail(ErrorKind::usage, "prompts need a language model, that of a whole checkpoint: --init DIR; without prompts, ",
         "held-out pictures are drawn");
  }
  const ArModel model = ArModel::load(folder, frozen_placement(options));
  const ArConfig& config = model.config;
  const ChatTemplate chat = ChatTemplate::open(processor, control_ids(config));
  const GenerationConfig generation = GenerationConfig::open(folder);
  const int64_t side = std::max<int64_t>(1, preset.picture_size / kPixelsPerVisualToken);
  for (const std::string& prompt : options.config.prompts) {
    const PriorRequest request = text_prior(
        config, chat, {.temperature = generation.temperature, .top_p = generation.top_p, .top_k = generation.top_k},
        prompt, {side, side});
    at::Generator generator = make_generator(seed_);
    samples_.push_back({prompt, run_prior(model, request, generator).target, {}, {}});
  }
}

Image DitSamples::draw(const FlowModel& model, const Sample& sample, uint64_t number) const {
  const ByteTokenizer tokenizer;
  const Vae& vae = vae_.model();
  const Grid grid = sample.tokens.grid;
  const int64_t height = grid.height * kPixelsPerVisualToken, width = grid.width * kPixelsPerVisualToken;
  const at::Tensor noise =
      at::randn({1, model.dit.config.in_channels, height / vae.config.scale(), width / vae.config.scale()},
                make_generator(derive_seed(seed_, Stream::samples, number)), at::TensorOptions(at::kFloat));
  const ReferenceCache references = encode_references(model.dit, sample.references);
  const at::Tensor latents = denoise({.model = model.dit,
                                      .schedule = make_schedule({}, kSteps, 4 * grid.count()),
                                      .noise = noise.to(device_),
                                      .glyphs = encode_glyphs(model.glyph, tokenizer, sample.caption),
                                      .negative_glyphs = encode_glyphs(model.glyph, tokenizer, ""),
                                      .prior_ids = upsample_to_prior(sample.tokens).to(device_),
                                      .height = height,
                                      .width = width,
                                      .references = sample.references.empty() ? nullptr : &references,
                                      .guidance_scale = kGuidance});
  return from_unit_tensor(vae.decode(vae.denormalise(latents)).to(at::kFloat) * 0.5 + 0.5);
}

std::vector<SamplePicture> DitSamples::draw(const FlowModel& model) const {
  std::vector<std::vector<Image>> rows;
  for (size_t i = 0; i < samples_.size(); ++i) {
    rows.emplace_back();
    if (samples_[i].target) rows.back().push_back(*samples_[i].target);
    rows.back().push_back(draw(model, samples_[i], i));
  }
  return {{name_, make_sheet(rows)}};
}

}  // namespace glmimage::train
