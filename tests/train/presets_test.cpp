#include "train/presets.h"

#include <gmock/gmock.h>

#include <map>

#include "core/error.h"
#include "models/ar/model.h"
#include "models/dit/model.h"
#include "models/glyph/encoder.h"
#include "models/vae/vae.h"
#include "models/visual_tokenizer/visual_tokenizer.h"

namespace glmimage::train {
namespace {

using Shape = std::vector<int64_t>;

// Names and shapes of a part. Its tensors are never made: a list is made from the configuration alone.
template <typename Model, typename Config>
std::map<std::string, Shape> shapes_of(const Config& config) {
  Model model(config);
  ParameterList list;
  model.list(list);
  std::map<std::string, Shape> shapes;
  for (const Parameter& p : list) {
    EXPECT_FALSE(p.tensor->defined());
    EXPECT_TRUE(shapes.emplace(p.name, p.shape).second) << p.name;
  }
  return shapes;
}

int64_t elements(const std::map<std::string, Shape>& shapes, const std::string& prefix = "") {
  int64_t sum = 0;
  for (const auto& [name, shape] : shapes) {
    int64_t product = 1;
    for (int64_t side : shape) product *= side;
    if (name.starts_with(prefix)) sum += product;
  }
  return sum;
}

// The numbers of the published checkpoint's own files.
TEST(Presets, PublishedIsThePublishedModel) {
  const Preset preset = find_preset("published");
  const auto ar = shapes_of<ArModel>(preset.ar);
  const auto visual = shapes_of<VisualTokenizer>(VisualTokenizerConfig{preset.vision, preset.vq});
  EXPECT_EQ(ar.size() + visual.size(), 1011U);
  EXPECT_EQ(elements(visual, "model.visual."), 1'159'607'808);
  EXPECT_EQ(elements(visual, "model.vqmodel."), 39'849'472);
  EXPECT_EQ(elements(ar) + elements(visual), 10'114'245'632);
  EXPECT_EQ(ar.at("model.language_model.embed_tokens.weight"), (Shape{168064, 4096}));
  EXPECT_EQ(ar.at("model.language_model.layers.39.self_attn.k_proj.weight"), (Shape{256, 4096}));
  EXPECT_EQ(ar.at("model.language_model.layers.0.mlp.gate_up_proj.weight"), (Shape{2 * 13696, 4096}));
  EXPECT_EQ(ar.at("lm_head.weight"), (Shape{16512, 4096}));
  EXPECT_EQ(visual.at("model.visual.embeddings.position_embedding.weight"), (Shape{16384, 1536}));
  EXPECT_EQ(visual.at("model.vqmodel.quantize.embedding.weight"), (Shape{16384, 2048}));

  const auto dit = shapes_of<DitModel>(preset.dit);
  EXPECT_EQ(dit.size(), 443U);
  EXPECT_EQ(elements(dit), 6'926'882'880);
  EXPECT_EQ(dit.at("transformer_blocks.29.ff.net.0.proj.weight"), (Shape{4 * 4096, 4096}));
  EXPECT_EQ(dit.at("time_condition_embed.condition_embedder.linear_1.weight"), (Shape{512, 1024}));

  const auto glyph = shapes_of<GlyphEncoder>(preset.glyph);
  EXPECT_EQ(elements(glyph), 217'657'472);
  EXPECT_EQ(glyph.at("encoder.block.11.layer.0.SelfAttention.q.weight"), (Shape{384, 1472}));

  const auto vae = shapes_of<Vae>(preset.vae);
  EXPECT_EQ(vae.size(), 288U);
  EXPECT_EQ(elements(vae), 406'100'643);
  EXPECT_EQ(elements(vae, "encoder."), 172'443'808);
  EXPECT_EQ(preset.draft_size, 16);
  EXPECT_EQ(preset.preprocess.min_side(), 512);
}

TEST(Presets, OthersAreNamed) {
  try {
    find_preset("huge");
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("tiny, mini, published"));
  }
}

}  // namespace
}  // namespace glmimage::train
