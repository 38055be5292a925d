#include "models/vae/vae.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/group_norm.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/softmax.h>
#include <c10/core/InferenceMode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <fstream>
#include <map>

#include "core/error.h"
#include "core/rng.h"
#include "models/vae_helpers.h"
#include "support/goldens.h"
#include "support/gradients.h"

namespace glmimage {
namespace {

using ::testing::HasSubstr;

constexpr double kTolerance = 1e-4;  // relative, float32

std::filesystem::path folder_of(const std::string& name) { return test::golden(name + "/checkpoint/vae"); }

nlohmann::json config_json() { return JsonObject::open(folder_of("tiny_a") / "config.json").value(); }

VaeConfig parse(const nlohmann::json& json) { return VaeConfig::from_json(JsonObject("vae/config.json", "", json)); }

std::string refusal(const nlohmann::json& json) {
  try {
    parse(json);
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::checkpoint);
    return e.what();
  }
  return "";
}

class VaeGolden : public ::testing::TestWithParam<const char*> {
 protected:
  Vae vae = Vae::open(folder_of(GetParam()), {.dtype = at::kFloat});
  SafetensorsFile golden = SafetensorsFile::open(test::golden(std::string(GetParam()) + "/modules.safetensors"));
};

INSTANTIATE_TEST_SUITE_P(Checkpoints, VaeGolden, ::testing::Values("tiny_a", "tiny_b", "tiny_c"));

TEST_P(VaeGolden, EncodesAsTheReferenceDoes) {
  const Moments moments = vae.encode(golden.tensor("vae.encoder.in"));
  const at::Tensor expected = golden.tensor("vae.encoder.out");  // (1, 2C, h, w), not clamped
  const int64_t channels = vae.config.latent_channels;
  EXPECT_LT(test::relative_error(moments.mean, expected.narrow(1, 0, channels)), kTolerance);
  EXPECT_LT(test::relative_error(moments.logvar, expected.narrow(1, channels, channels).clamp(-30, 20)), kTolerance);
}

TEST_P(VaeGolden, DecodesAsTheReferenceDoes) {
  const at::Tensor out = vae.decode(golden.tensor("vae.decoder.in"));
  EXPECT_LT(test::relative_error(out, golden.tensor("vae.decoder.out")), kTolerance);
  EXPECT_TRUE(out.is_contiguous());
}

// What a piece of the VAE makes of x, which is left alone.
template <typename Piece>
at::Tensor made_by(const Piece& piece, const at::Tensor& x) {
  at::Tensor y = x.clone();
  piece.replace(y);
  return y;
}

TEST_P(VaeGolden, BlocksAgreeOneByOne) {
  at::Tensor h = vae.encoder.conv_in(golden.tensor("vae.encoder.in"));
  const auto expect = [&](const at::Tensor& got, const std::string& name) {
    EXPECT_LT(test::relative_error(got, golden.tensor("vae." + name + ".out")), kTolerance) << name;
  };
  expect(h, "encoder.conv_in");
  expect(made_by(vae.encoder.down_blocks[0].resnets[0], h), "encoder.down_blocks.0.resnets.0");
  expect(made_by(vae.encoder.down_blocks[0], h), "encoder.down_blocks.0");
  expect(made_by(vae.decoder.mid_block, golden.tensor("vae.decoder.conv_in.out")), "decoder.mid_block");
  expect(made_by(vae.decoder.up_blocks[0], golden.tensor("vae.decoder.mid_block.out")), "decoder.up_blocks.0");
}

// As the pipeline draws: channels_last, without autograd.
TEST_P(VaeGolden, DrawsAsTheReferenceDoes) {
  const c10::InferenceMode inference;
  EXPECT_LT(test::relative_error(vae.decode(golden.tensor("vae.decoder.in")), golden.tensor("vae.decoder.out")),
            kTolerance);
  const at::Tensor expected = golden.tensor("vae.encoder.out");
  EXPECT_LT(test::relative_error(vae.encode(golden.tensor("vae.encoder.in")).mean,
                                 expected.narrow(1, 0, vae.config.latent_channels)),
            kTolerance);
}

TEST_P(VaeGolden, GradientsAgree) {
  if (!golden.find("grad.vae.encoder.projection")) GTEST_SKIP() << "recorded for float32 checkpoints only";
  ParameterList list;
  vae.list(list);
  for (const std::string part : {"vae.encoder", "vae.decoder"}) {
    at::Tensor in = golden.tensor(part + ".in").clone().requires_grad_(true);
    std::map<std::string, at::Tensor> leaves = test::record_gradients(list);
    leaves["in"] = in;
    at::Tensor out = part == "vae.decoder" ? vae.decode(in) : vae.encoder(in);
    const std::string prefix = "grad." + part + ".";
    (out * golden.tensor(prefix + "projection")).sum().backward();
    EXPECT_EQ(test::expect_gradients(leaves, golden, prefix, kTolerance), 6) << part;
  }
}

TEST_P(VaeGolden, ConfigurationRoundTrips) {
  const nlohmann::json published = JsonObject::open(folder_of(GetParam()) / "config.json").value();
  EXPECT_EQ(vae.config.to_json(), published);
}

TEST_P(VaeGolden, SavedWeightsLoadAgain) {
  const auto folder = test::scratch_folder();
  ParameterList list;
  vae.list(list);
  write_safetensors(folder / "diffusion_pytorch_model.safetensors", named_tensors(list));
  std::ofstream(folder / "config.json") << vae.config.to_json();
  const Vae again = Vae::open(folder, {});
  const at::Tensor latents = golden.tensor("vae.decoder.in");
  EXPECT_TRUE(again.decode(latents).equal(vae.decode(latents)));
}

TEST(Vae, NormalisesPerChannelAndBack) {
  const Vae vae = Vae::open(folder_of("tiny_a"), {});
  const at::Tensor raw = at::randn({2, vae.config.latent_channels, 3, 5}, make_generator(4), at::kFloat);
  const at::Tensor z = vae.normalise(raw);
  const double expected = (raw[1][2][1][4].item<double>() - vae.config.latents_mean[2]) / vae.config.latents_std[2];
  EXPECT_NEAR(z[1][2][1][4].item<double>(), expected, 1e-6);
  EXPECT_LT(test::relative_error(vae.denormalise(z), raw), 1e-6);
  EXPECT_EQ(vae.normalise(raw.to(at::kBFloat16)).scalar_type(), at::kBFloat16);
}

TEST(Vae, LogVarianceIsClamped) {
  Vae vae = Vae::open(folder_of("tiny_a"), {});
  const int64_t c = vae.config.latent_channels;
  at::Tensor bias = vae.encoder.conv_out.bias.clone();
  bias.narrow(0, c, c / 2).fill_(1e4);
  bias.narrow(0, c + c / 2, c / 2).fill_(-1e4);
  vae.encoder.conv_out.bias = bias;
  const at::Tensor logvar = vae.encode(at::randn({1, 3, 16, 16}, make_generator(1), at::kFloat)).logvar;
  EXPECT_EQ(logvar.max().item<float>(), 20.0f);
  EXPECT_EQ(logvar.min().item<float>(), -30.0f);
}

// Sums of float32 do not show in the statistics. Only pictures in channels_last are encoded with the reference's sums.
TEST(Vae, IsExactWhereTheReferenceIs) {
  const Vae vae = Vae::open(folder_of("tiny_c"), {.dtype = at::kFloat}),
            exact = Vae::open(folder_of("tiny_c"), {.dtype = at::kDouble});
  const at::Tensor pixels = 0.2 * at::randn({1, 3, 256, 256}, make_generator(2), at::kFloat) + 0.5;
  const at::Tensor truth = exact.encode(pixels).mean;
  EXPECT_LT(test::relative_error(vae.encode(pixels).mean, truth), 1e-5);
  EXPECT_LT(test::relative_error(vae.encode(pixels.contiguous(at::MemoryFormat::ChannelsLast)).mean, truth), 1e-3);
  const c10::InferenceMode inference;
  EXPECT_LT(test::relative_error(vae.encode(pixels).mean, truth), 1e-5);
}

// Autograd and the in-place short cuts of inference must not disagree, and inputs stay as they were.
TEST(Vae, InferenceEqualsTrainingForward) {
  Vae vae = test::random_vae(parse(config_json()));
  const at::Tensor pixels = at::randn({2, 3, 32, 16}, make_generator(2), at::kFloat), copy = pixels.clone();
  const Moments frozen = vae.encode(pixels);
  const at::Tensor latents = frozen.mean.clone(), picture = vae.decode(latents);
  EXPECT_TRUE(pixels.equal(copy));
  EXPECT_TRUE(latents.equal(frozen.mean));
  ParameterList list;
  vae.list(list);
  for (const Parameter& p : list) p.tensor->requires_grad_(true);
  EXPECT_LT(test::relative_error(vae.encode(pixels).mean, frozen.mean), 5e-6);
  EXPECT_LT(test::relative_error(vae.decode(latents), picture), 5e-6);
  vae.decode(vae.encode(pixels).mean).square().mean().backward();
  for (const Parameter& p : list) EXPECT_TRUE(p.tensor->grad().defined()) << p.name;
}

// Whichever parameter alone learns: the road that keeps a history begins where it is needed.
TEST(Vae, EveryParameterLearnsAlone) {
  Vae vae = test::random_vae(parse(config_json()));
  ParameterList list;
  vae.list(list);
  const at::Tensor latents = at::randn({1, vae.config.latent_channels, 2, 3}, make_generator(3), at::kFloat);
  const at::Tensor picture = vae.decode(latents);
  for (const Parameter& p : list) {
    if (!p.name.starts_with("decoder.")) continue;
    p.tensor->requires_grad_(true);
    const at::Tensor out = vae.decode(latents);
    EXPECT_LT(test::relative_error(out.detach(), picture), 1e-5) << p.name;
    ASSERT_TRUE(out.requires_grad()) << p.name;
    out.square().mean().backward();
    EXPECT_TRUE(p.tensor->grad().defined()) << p.name;
    *p.tensor = p.tensor->detach();
  }
}

TEST(Vae, BatchEqualsSinglePictures) {
  const Vae vae = Vae::open(folder_of("tiny_b"), {});
  const at::Tensor pixels = at::randn({3, 3, 16, 48}, make_generator(2), at::kFloat);
  const at::Tensor all = vae.encode(pixels).mean, decoded = vae.decode(all);
  for (int64_t i = 0; i < 3; ++i) {
    EXPECT_LT(test::relative_error(all.narrow(0, i, 1), vae.encode(pixels.narrow(0, i, 1)).mean), kTolerance);
    EXPECT_LT(test::relative_error(decoded.narrow(0, i, 1), vae.decode(all.narrow(0, i, 1))), kTolerance);
  }
}

TEST(Vae, StaysInItsTypeAndNeverInFloat16) {
  const Vae vae = Vae::open(folder_of("tiny_c"), {});  // stored in bfloat16
  EXPECT_EQ(vae.dtype(), at::kBFloat16);
  const at::Tensor latents = at::randn({1, vae.config.latent_channels, 4, 4}, make_generator(3), at::kFloat);
  const at::Tensor picture = vae.decode(latents);
  EXPECT_EQ(picture.scalar_type(), at::kBFloat16);
  EXPECT_LT(test::relative_error(picture, Vae::open(folder_of("tiny_c"), {.dtype = at::kFloat}).decode(latents)), 0.1);
  EXPECT_EQ(Vae::open(folder_of("tiny_c"), {.dtype = at::kHalf}).dtype(), at::kFloat);
}

// softmax(q kᵀ / sqrt(C)) v written out, in float32.
TEST(Vae, MidAttentionIsOneHeadOverAllPixels) {
  VaeAttention attention(8, 2);
  ParameterList list;
  attention.list(list, "a");
  init_parameters(list, make_generator(5));
  for (const Parameter& p : list)
    *p.tensor = *p.tensor + 0.3 * at::randn(p.shape, make_generator(p.shape[0]), at::kFloat);
  const at::Tensor x = at::randn({2, 8, 3, 5}, make_generator(6), at::kFloat);
  const at::Tensor n = at::group_norm(x, 2, attention.group_norm.weight, attention.group_norm.bias, 1e-6);
  const at::Tensor t = n.reshape({2, 8, 15}).transpose(1, 2);  // (2, 15, 8)
  const auto project = [&](const Linear& l) { return at::linear(t, l.weight, l.bias); };
  const at::Tensor scores =
      at::matmul(project(attention.to_q), project(attention.to_k).transpose(1, 2)) / std::sqrt(8.0);
  const at::Tensor mixed = at::matmul(at::softmax(scores, -1), project(attention.to_v));
  const at::Tensor y =
      at::linear(mixed, attention.to_out.weight, attention.to_out.bias).transpose(1, 2).reshape(x.sizes());
  EXPECT_LT(test::relative_error(attention(x), x + y), 1e-5);
  EXPECT_EQ(list[8].name, "a.to_out.0.weight");
}

TEST(Vae, OptionalPartsHaveTheirNames) {
  nlohmann::json json = config_json();
  json["mid_block_add_attention"] = json["use_quant_conv"] = json["use_post_quant_conv"] = true;
  Vae vae = test::random_vae(parse(json));
  ParameterList list;
  vae.list(list);
  std::vector<std::string> names;
  for (const Parameter& p : list) names.push_back(p.name);
  for (const char* name :
       {"quant_conv.weight", "post_quant_conv.bias", "encoder.mid_block.attentions.0.to_q.weight",
        "decoder.mid_block.attentions.0.group_norm.bias", "decoder.mid_block.attentions.0.to_out.0.bias"}) {
    EXPECT_THAT(names, ::testing::Contains(name));
  }
  EXPECT_EQ(vae.decode(vae.encode(at::randn({1, 3, 16, 24}, make_generator(1), at::kFloat)).mean).sizes(),
            at::IntArrayRef({1, 3, 16, 24}));
}

TEST(Vae, PublishedSizes) {
  nlohmann::json json = config_json();
  json["block_out_channels"] = {128, 512, 1024, 1024};
  json["layers_per_block"] = 3;
  json["norm_num_groups"] = 32;
  Vae vae(parse(json));
  ParameterList list;
  vae.list(list);
  EXPECT_EQ(list.size(), 288u);
  EXPECT_EQ(count_elements(list), 406100643);
}

TEST(Vae, RefusesOtherShapes) {
  const Vae vae = Vae::open(folder_of("tiny_a"), {});
  for (const at::Tensor& bad :
       {at::full({1, 4, 16, 16}, 0.0), at::full({3, 16, 16}, 0.0), at::full({1, 3, 17, 16}, 0.0)}) {
    EXPECT_THROW(vae.encode(bad), Error);
  }
  EXPECT_THROW(vae.decode(at::full({1, 3, 4, 4}, 0.0)), Error);
}

TEST(VaeConfig, RefusesToGuess) {
  for (const char* field :
       {"block_out_channels", "layers_per_block", "latent_channels", "norm_num_groups", "latents_mean", "latents_std",
        "mid_block_add_attention", "use_quant_conv", "use_post_quant_conv", "act_fn", "sample_size", "down_block_types",
        "up_block_types", "in_channels", "out_channels"}) {
    nlohmann::json json = config_json();
    json.erase(field);
    EXPECT_THAT(refusal(json), HasSubstr(field));
    json[field] = nullptr;
    EXPECT_THAT(refusal(json), HasSubstr(field));
  }
}

TEST(VaeConfig, RefusesWhatItDoesNotKnow) {
  const auto with = [](const char* field, nlohmann::json value) {
    nlohmann::json json = config_json();
    json[field] = std::move(value);
    return refusal(json);
  };
  EXPECT_THAT(with("_class_name", "AutoencoderTiny"), HasSubstr("AutoencoderTiny"));
  EXPECT_THAT(with("act_fn", "relu"), HasSubstr("relu"));
  EXPECT_THAT(with("in_channels", 4), HasSubstr("in_channels"));
  EXPECT_THAT(with("latents_std", std::vector<double>(16, 0.0)), HasSubstr("latents_std"));
  EXPECT_THAT(with("latents_mean", {0.5}), HasSubstr("latents_mean"));
  EXPECT_THAT(with("norm_num_groups", 3), HasSubstr("norm_num_groups"));
  EXPECT_THAT(with("down_block_types",
                   {"DownEncoderBlock2D", "AttnDownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D"}),
              HasSubstr("AttnDownEncoderBlock2D"));
  EXPECT_THAT(with("up_block_types", {"UpDecoderBlock2D"}), HasSubstr("up_block_types"));
}

}  // namespace
}  // namespace glmimage
