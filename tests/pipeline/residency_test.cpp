// Weights that come and go, watched at the models' own tensors.
#include "pipeline/residency.h"

#include <ATen/ops/equal.h>
#include <gtest/gtest.h>

#include "support/goldens.h"

namespace glmimage {
namespace {

const at::Device kCpu(at::kCPU);

struct World {
  Models models = Models::open(test::golden("tiny_a/checkpoint"), {});  // float32 files
  Models sketch;
  AllCosts costs;
  Residency residency;

  explicit World(at::ScalarType dtype, size_t held = 0)
      : sketch(Models::open(test::golden("tiny_a/checkpoint"), {.dtype = dtype, .device = at::Device(at::kMeta)})),
        costs(part_costs(models, sketch, {}, kCpu)) {
    MemoryPlan plan;
    plan.parts[static_cast<size_t>(WeightPart::ar)].held = held;
    residency = Residency(models, sketch, {}, plan, kCpu);
  }
  const at::Tensor& table() const { return models.ar.embed_tokens.weight; }
  const at::Tensor& gate(size_t layer) const { return models.ar.layers[layer].mlp.gate_up.weight; }
};

TEST(Residency, LendsAPartAndItsLayersInTurn) {
  World w(at::kBFloat16, 1);
  const Models whole = Models::open(test::golden("tiny_a/checkpoint"), {.dtype = at::kBFloat16});
  EXPECT_FALSE(w.table().defined());
  {
    const Residency::Lease lease = w.residency.lend({WeightPart::ar});
    EXPECT_TRUE(at::equal(w.table(), whole.ar.embed_tokens.weight));
    EXPECT_TRUE(at::equal(w.gate(0), whole.ar.layers[0].mlp.gate_up.weight)) << "held";
    EXPECT_FALSE(w.gate(1).defined());
    EXPECT_FALSE(w.models.dit.proj_out.weight.defined()) << "another part";
    {
      const LayerTurn turn(w.models.ar.listener, 1);
      EXPECT_TRUE(at::equal(w.gate(1), whole.ar.layers[1].mlp.gate_up.weight));
      EXPECT_TRUE(w.models.ar.layers[1].attention.qkv.weight.defined()) << "copies are joined";
    }
    EXPECT_FALSE(w.gate(1).defined());
    EXPECT_FALSE(w.models.ar.layers[1].attention.qkv.weight.defined());
    EXPECT_TRUE(w.gate(0).defined());
  }
  EXPECT_FALSE(w.table().defined());
  EXPECT_FALSE(w.gate(0).defined());
  EXPECT_TRUE(w.models.vae.encoder.conv_in.weight.defined()) << "tells the VAE's type";
}

TEST(Residency, LeasesOfOnePartNest) {
  World w(at::kBFloat16);
  const Residency::Lease outer = w.residency.lend({WeightPart::vae_decoder});
  { const Residency::Lease inner = w.residency.lend({WeightPart::vae_encoder, WeightPart::vae_decoder}); }
  EXPECT_TRUE(w.models.vae.decoder.conv_in.weight.defined());
  EXPECT_FALSE(w.models.vae.encoder.conv_out.weight.defined());
}

// In its stored type on a CPU a weight is the file's own bytes, costs nothing, and is not copied to be joined.
TEST(Residency, MappedWeightsAreNotCopied) {
  Models mapped = Models::open(test::golden("tiny_a/checkpoint"), {});
  World w(at::kFloat);
  for (const PartCost& cost : w.costs) EXPECT_EQ(cost.frame + cost.layers_from(0, cost.layers.size()), 0);
  const Residency::Lease lease = w.residency.lend({WeightPart::ar});
  const LayerTurn turn(w.models.ar.listener, 0);
  EXPECT_TRUE(at::equal(w.gate(0), mapped.ar.layers[0].mlp.gate_up.weight));
  EXPECT_EQ(w.gate(0).storage().allocator(), nullptr) << "memory nobody allocated";
  EXPECT_FALSE(w.models.ar.layers[0].attention.qkv.weight.defined());
}

TEST(Residency, CostsAreTheBytesOfCopies) {
  World w(at::kBFloat16);
  int64_t bytes = 0;
  ParameterList list;
  w.sketch.dit.list(list);
  for (const Parameter& p : list) bytes += p.bytes();
  const PartCost& dit = w.costs[static_cast<size_t>(WeightPart::dit)];
  EXPECT_EQ(dit.frame + dit.layers_from(0, dit.layers.size()), bytes);
  EXPECT_EQ(dit.layers.size(), 2u);
}

}  // namespace
}  // namespace glmimage
