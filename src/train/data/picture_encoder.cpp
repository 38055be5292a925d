#include "train/data/picture_encoder.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>

#include <optional>

#include "core/autocast.h"
#include "core/error.h"
#include "text/chat_template.h"
#include "train/data/content_hash.h"
#include "train/data/half_size.h"

namespace glmimage::train {

Grid grid_of(const Bucket& bucket) {
  return {bucket.height / kPixelsPerVisualToken, bucket.width / kPixelsPerVisualToken};
}

Grid draft_grid_of(Grid target, int64_t draft_size) {
  const PromptGrid draft = draft_grid(PromptGrid{target.height, target.width}, draft_size);
  return {draft.height, draft.width};
}

TokenEncoder::TokenEncoder(const std::filesystem::path& folder, const PreprocessConfig& preprocess, int64_t draft_size,
                           at::Device device)
    : folder_(folder),
      config_(VisualTokenizerConfig::from_json(JsonObject::open(folder / "config.json"))),
      preprocess_(preprocess),
      draft_size_(draft_size),
      device_(device) {
  preprocess_.patch_size = config_.vision.patch_size;
  key_ = hex(hash_text(concat("tokens 1 ", hash_weights(folder, {"model.visual.", "model.vqmodel."}),
                              config_.to_json().dump(), preprocess_.to_json().dump(), draft_size)));
}

const VisualTokenizer& TokenEncoder::model() const {
  std::call_once(loaded_, [this] { model_.emplace(VisualTokenizer::open(folder_, {at::kFloat, device_})); });
  return *model_;
}

at::Tensor TokenEncoder::encode(const DataBatch& batch) const {
  at::NoGradGuard no_grad;
  const Autocast none(device_, std::nullopt);  // the same numbers, whoever asks
  std::vector<at::Tensor> parts;
  const auto add = [&](const std::vector<Image>& pictures, Grid grid) {
    const at::Tensor patches = half_size_patches(pictures, grid, preprocess_).to(device_);  // (B, n, 3·p·p)
    parts.push_back(model().encode_batch(patches, grid).to(at::kCPU, at::kInt));
  };
  const auto grid_of_picture = [](const Image& picture) { return grid_of({picture.width, picture.height}); };
  const Grid target = grid_of_picture(batch.pictures[0]);
  add(batch.pictures, target);
  if (batch.references.empty()) add(batch.pictures, draft_grid_of(target, draft_size_));
  for (const std::vector<Image>& reference : batch.references) add(reference, grid_of_picture(reference[0]));
  return at::cat(parts, 1);
}

LatentEncoder::LatentEncoder(const std::filesystem::path& folder, at::Device device)
    : folder_(folder), config_(VaeConfig::from_json(JsonObject::open(folder / "config.json"))), device_(device) {
  key_ = hex(hash_text(concat("latents 1 ", hash_weights(folder), config_.to_json().dump())));
}

const Vae& LatentEncoder::model() const {
  std::call_once(loaded_, [this] { model_.emplace(Vae::open(folder_, {at::kFloat, device_})); });
  return *model_;
}

at::Tensor LatentEncoder::encode(const DataBatch& batch) const {
  at::NoGradGuard no_grad;
  const Autocast none(device_, std::nullopt);
  std::vector<at::Tensor> parts;
  const auto add = [&](const std::vector<Image>& pictures) {
    const Vae& vae = model();
    const at::Tensor latents = vae.normalise(vae.encode(vae_pixels(pictures).to(device_)).mean);  // (B, C, h, w)
    parts.push_back(latents.flatten(1).to(at::kCPU, at::kBFloat16));
  };
  add(batch.pictures);
  for (const std::vector<Image>& reference : batch.references) add(reference);
  return at::cat(parts, 1);
}

}  // namespace glmimage::train
