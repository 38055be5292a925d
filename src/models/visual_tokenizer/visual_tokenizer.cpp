#include "models/visual_tokenizer/visual_tokenizer.h"

#include <ATen/core/grad_mode.h>

#include "core/error.h"

namespace glmimage {

VisualTokenizer::VisualTokenizer(const VisualTokenizerConfig& config)
    : config(config), tower(config.vision), quantizer(config.vq) {}

VisualTokenizer VisualTokenizer::open(const std::filesystem::path& folder, const Placement& placement) {
  VisualTokenizer tokenizer(VisualTokenizerConfig::from_json(JsonObject::open(folder / "config.json")));
  ParameterList list;
  tokenizer.list(list);
  load_parameters(list, WeightFiles::open(folder), placement, {"model.language_model.", "lm_head."});
  return tokenizer;
}

void VisualTokenizer::list(ParameterList& list) {
  tower.list(list, "model.visual");
  quantizer.list(list, "model.vqmodel");
}

at::Tensor VisualTokenizer::features(const at::Tensor& patches, Grid grid, Activations activations) const {
  const int64_t dims = patches.dim();
  if ((dims != 2 && dims != 3) || grid.height < 1 || grid.width < 1 || patches.size(-2) != grid.count() ||
      patches.size(-1) != config.vision.patch_values()) {
    fail(ErrorKind::internal, "visual tokenizer: expected patches of shape (batch, ", grid.count(), ", ",
         config.vision.patch_values(), ") for a grid of ", grid.height, " x ", grid.width, ", not ", patches.sizes());
  }
  return tower(dims == 3 ? patches : patches.unsqueeze(0), grid, activations);
}

at::Tensor VisualTokenizer::encode_batch(const at::Tensor& patches, Grid grid) const {
  at::NoGradGuard no_grad;
  return quantizer.ids(features(patches, grid));
}

VisualTokens VisualTokenizer::encode(const Patches& patches) const {
  return {patches.grid, encode_batch(patches.values, patches.grid)};
}

}  // namespace glmimage
