#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mse_loss.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "core/json.h"
#include "models/ar/model.h"
#include "models/dit/model.h"
#include "models/glyph/encoder.h"
#include "models/vae/vae.h"
#include "models/visual_tokenizer/visual_tokenizer.h"
#include "support/goldens.h"
#include "support/gradients.h"
#include "train/losses/ar_loss.h"
#include "train/optim/adam_w.h"

// Training against the reference: gradients of all parameters, and steps of the optimiser on the whole of each module.
// Recorded by tests/tools/reference/training.py, which defines the same losses over the reference's classes.
namespace glmimage::train {
namespace {

constexpr double kTolerance = 1e-4;  // relative, float32

const std::string kLearners[] = {"ar", "tokenizer", "glyph", "dit", "dit_references", "vae_encoder", "vae_decoder"};

std::filesystem::path part(const std::string& name) { return test::golden("training/checkpoint/" + name); }

// |a - b| / |b| in the 2-norm, in double; infinity when shapes differ.
double distance(const at::Tensor& a, const at::Tensor& b) {
  if (a.sizes() != b.sizes()) return std::numeric_limits<double>::infinity();
  const at::Tensor x = a.detach().to(at::kDouble), y = b.detach().to(at::kDouble);
  return (x - y).norm().item<double>() / (y.norm().item<double>() + 1e-30);
}

// A module with a fixed batch: what it trains, and the loss of its parameters as they are.
struct Learner {
  ParameterList parameters;
  std::function<at::Tensor()> loss;
};

class ReferenceTraining : public ::testing::TestWithParam<std::string> {
 protected:
  at::Tensor at(const std::string& name) const { return file.tensor(name).clone(); }

  // Puts the whole model behind the loss, which then keeps it alive and in place.
  template <typename Model>
  std::shared_ptr<Model> keep(Model model, ParameterList& list) const {
    auto kept = std::make_shared<Model>(std::move(model));
    kept->list(list);
    return kept;
  }

  Learner language() const {
    Learner out;
    // Not ArModel::load, which fuses for inference.
    auto model = keep(ArModel(ArConfig::from_json(JsonObject::open(part("vision_language_encoder") / "config.json"))),
                      out.parameters);
    load_parameters(out.parameters, WeightFiles::open(part("vision_language_encoder")), {.dtype = at::kFloat},
                    ar_ignored_prefixes());
    const SequenceBatch batch{at("ar.ids"), at("ar.positions"), at("ar.targets")};
    out.loss = [=] { return sequence_loss(*model, batch); };
    return out;
  }

  // The quantiser's own loss as in the reference: commitment 1, codebook 0.25.
  Learner tokenizer() const {
    Learner out;
    auto model = keep(VisualTokenizer::open(part("vision_language_encoder"), {.dtype = at::kFloat}), out.parameters);
    const at::Tensor pixels = at("tokenizer.pixels"), wanted = at("tokenizer.features_target"),
                     decoded_wanted = at("tokenizer.decoded_target");
    out.loss = [=] {
      const at::Tensor features = at::cat({model->features(pixels.narrow(0, 0, 6), {3, 2}).squeeze(0),
                                           model->features(pixels.narrow(0, 6, 5), {1, 5}).squeeze(0)});  // (11, E)
      const Quantized found = model->quantizer.quantize(model->quantizer.project(features));
      const at::Tensor code = found.z + (found.q - found.z).detach();  // straight through
      const Conv2d& post = model->quantizer.post_quant_conv;
      const at::Tensor decoded = at::linear(code, post.weight.flatten(1), post.bias);  // (11, E)
      return at::mse_loss(features, wanted) + at::mse_loss(decoded, decoded_wanted) +
             at::mse_loss(found.z, found.q.detach()) + 0.25 * at::mse_loss(found.q, found.z.detach());
    };
    return out;
  }

  Learner glyph() const {
    Learner out;
    auto model = keep(GlyphEncoder::open(part("text_encoder"), {.dtype = at::kFloat}), out.parameters);
    const at::Tensor ids = at("glyph.ids"), mask = at("glyph.mask"), target = at("glyph.target");
    const at::Tensor real = mask.flatten().nonzero().flatten();  // rows at padding have no meaning
    out.loss = [=] {
      return at::mse_loss(model->forward(ids, mask).flatten(0, 1).index_select(0, real),
                          target.flatten(0, 1).index_select(0, real));
    };
    return out;
  }

  DitInput pass(const std::string& name) const {
    return {.latents = at(name + ".latents"),
            .glyphs = at(name + ".glyphs"),
            .prior_ids = at(name + ".prior"),
            .prior_drop = at(name + ".drop"),
            .timestep = at(name + ".timestep"),
            .target_size = at(name + ".target_size"),
            .crop = at(name + ".crop_coords")};
  }

  Learner transformer(bool with_references) const {
    Learner out;
    auto model = keep(DitModel::open(part("transformer"), {.dtype = at::kFloat}), out.parameters);
    const std::string name = with_references ? "dit_references" : "dit";
    const DitInput input = pass(name);
    const at::Tensor target = at(name + ".target");
    std::vector<DitInput> pictures;
    if (with_references) pictures = {pass(name + ".0"), pass(name + ".1")};
    out.loss = [=] {
      ReferenceCache cache;
      for (const DitInput& picture : pictures) model->write_references(picture, cache);
      return at::mse_loss(model->forward(input, &cache), target);
    };
    return out;
  }

  // One half of the VAE; the other half's parameters are not this learner's.
  Learner vae_half(bool encoder) const {
    ParameterList all;
    auto model = keep(Vae::open(part("vae"), {.dtype = at::kFloat}), all);
    Learner out;
    for (const Parameter& p : all) {
      if (p.name.rfind(encoder ? "encoder." : "decoder.", 0) == 0) out.parameters.push_back(p);
    }
    const std::string name = encoder ? "vae_encoder" : "vae_decoder";
    const at::Tensor in = at(name + ".in"), target = at(name + ".target");
    out.loss = [=] { return at::mse_loss(encoder ? model->encoder(in) : model->decode(in), target); };
    return out;
  }

  Learner learner(const std::string& name) const {
    if (name == "ar") return language();
    if (name == "tokenizer") return tokenizer();
    if (name == "glyph") return glyph();
    if (name == "dit" || name == "dit_references") return transformer(name == "dit_references");
    return vae_half(name == "vae_encoder");
  }

  SafetensorsFile file = SafetensorsFile::open(test::golden("training/gradients.safetensors"));
  nlohmann::json manifest = JsonObject::open(test::golden("training/manifest.json")).value();
};

INSTANTIATE_TEST_SUITE_P(Learners, ReferenceTraining, ::testing::ValuesIn(kLearners),
                         [](const auto& info) { return info.param; });

TEST_P(ReferenceTraining, GradientsOfAllParameters) {
  const Learner learner = this->learner(GetParam());
  const auto leaves = test::record_gradients(learner.parameters);
  learner.loss().backward();
  std::set<std::string> idle = manifest.at("parameters_without_gradient").at(GetParam());
  double worst = 0;
  std::string where;
  for (const auto& [name, leaf] : leaves) {
    if (idle.erase(name)) {
      EXPECT_TRUE(!leaf.grad().defined() || leaf.grad().count_nonzero().item<int64_t>() == 0) << name;
      continue;
    }
    ASSERT_TRUE(leaf.grad().defined()) << name;
    const double error = distance(leaf.grad(), file.tensor("grad." + GetParam() + "." + name));
    EXPECT_LE(error, kTolerance) << name;
    if (error >= worst) worst = error, where = name;
  }
  EXPECT_TRUE(idle.empty()) << "not a parameter here: " << *idle.begin();
  size_t recorded = 0;
  for (const TensorInfo& info : file.tensors()) recorded += info.name.rfind("grad." + GetParam() + ".", 0) == 0;
  EXPECT_EQ(leaves.size(), recorded + manifest.at("parameters_without_gradient").at(GetParam()).size());
  std::printf("%s: %zu gradients, worst relative error %.2g (%s)\n", GetParam().c_str(), recorded, worst,
              where.c_str());
}

// Every loss and gradient norm on the way: an error in one update would show in the next.
TEST_P(ReferenceTraining, FiveStepsOfAdamW) {
  const Learner learner = this->learner(GetParam());
  const nlohmann::json& o = manifest.at("optimiser");
  AdamW optimiser(learner.parameters, {.beta1 = o.at("betas")[0],
                                       .beta2 = o.at("betas")[1],
                                       .eps = o.at("eps"),
                                       .weight_decay = o.at("weight_decay"),
                                       .max_grad_norm = o.at("max_grad_norm")});
  const at::Tensor losses = at("steps." + GetParam() + ".loss"), norms = at("steps." + GetParam() + ".grad_norm");
  ASSERT_EQ(norms.numel(), 5);
  ASSERT_EQ(losses.numel(), 6);
  double worst = 0;
  for (int64_t step = 0; step < 6; ++step) {
    const at::Tensor loss = learner.loss();
    const double expected = losses[step].item<double>(), error = std::abs(loss.item<double>() / expected - 1);
    EXPECT_LE(error, kTolerance) << "loss of step " << step << ", " << expected;
    worst = std::max(worst, error);
    if (step == 5) break;
    loss.backward();
    const double norm = optimiser.step(o.at("learning_rate")).grad_norm;
    EXPECT_NEAR(norm / norms[step].item<double>(), 1, kTolerance) << "gradient norm of step " << step;
  }
  std::printf("%s: loss %.4f to %.4f, worst relative difference %.2g\n", GetParam().c_str(), losses[0].item<double>(),
              losses[5].item<double>(), worst);
}

}  // namespace
}  // namespace glmimage::train
