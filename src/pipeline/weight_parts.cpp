#include "pipeline/weight_parts.h"

#include <algorithm>
#include <map>

namespace glmimage {
namespace {

// Cuts a model's list into layers and the rest. A layer is what its own list points to, whatever its names say.
template <typename Model, typename Layer, typename ListLayer>
PartLists cut(Model& model, std::vector<Layer>& layers, const ListLayer& list_layer) {
  std::map<const at::Tensor*, size_t> owner;
  for (size_t i = 0; i < layers.size(); ++i) {
    ParameterList own;
    list_layer(layers[i], own);
    for (const Parameter& p : own) owner[p.tensor] = i;
  }
  ParameterList all;
  model.list(all);
  PartLists out;
  out.layers.resize(layers.size());
  for (const Parameter& p : all) {
    const auto it = owner.find(p.tensor);
    (it == owner.end() ? out.frame : out.layers[it->second]).push_back(p);
  }
  return out;
}

// On a CPU a tensor of the wanted type stays mapped.
int64_t own_bytes(const at::Tensor& stored, const at::Tensor& sketch, at::Device device) {
  if (!stored.defined() || (device.is_cpu() && stored.scalar_type() == sketch.scalar_type())) return 0;
  return static_cast<int64_t>(sketch.nbytes());
}

int64_t elements(const Parameter& p) { return p.tensor->numel(); }

// What bringing a matrix needs besides the matrix, while an adapter is merged into it.
int64_t merging_bytes(const Parameter& sketch) {
  return elements(sketch) * (sketch.tensor->scalar_type() == at::kFloat ? 4 : 8);
}

int64_t adapted_bytes(const Parameter& stored, const Parameter& sketch, const LowRank& pair, at::Device device) {
  if (stored.quantised()) return 4 * (pair.a.numel() + pair.b.numel());
  return own_bytes(stored, sketch, device) > 0 ? 0 : static_cast<int64_t>(sketch.tensor->nbytes());
}

// What a product with a matrix of few bits writes out: on a CPU the matrix, elsewhere integers and factors on the way
// (kernels::dequantise).
int64_t unpacking_bytes(const Parameter& sketch, at::Device device) {
  return sketch.shape[0] * sketch.shape[1] * (device.is_cpu() ? 4 : 16);
}

struct ListCost {
  int64_t bytes = 0, bringing = 0, unpacking = 0;
};

ListCost cost_of(const ParameterList& stored, const ParameterList& sketch, const LowRankMap& pairs, at::Device device) {
  ListCost out;
  for (size_t i = 0; i < stored.size(); ++i) {
    out.bytes += own_bytes(stored[i], sketch[i], device);
    if (stored[i].quantised()) out.unpacking = std::max(out.unpacking, unpacking_bytes(sketch[i], device));
    const auto pair = stored[i].low_rank ? pairs.find(stored[i].name) : pairs.end();
    if (pair == pairs.end()) continue;
    out.bytes += adapted_bytes(stored[i], sketch[i], pair->second, device);
    if (!stored[i].quantised()) out.bringing = std::max(out.bringing, merging_bytes(sketch[i]));
  }
  return out;
}

PartCost cost_of(const PartLists& stored, const PartLists& sketch, const LowRankMap& pairs, at::Device device) {
  PartCost out;
  const ListCost frame = cost_of(stored.frame, sketch.frame, pairs, device);
  out.frame = out.resident = frame.bytes;
  out.bringing = frame.bringing;
  out.unpacking = frame.unpacking;
  for (size_t i = 0; i < stored.layers.size(); ++i) {
    const ListCost layer = cost_of(stored.layers[i], sketch.layers[i], pairs, device);
    out.layers.push_back(layer.bytes);
    out.resident += layer.bytes;
    out.bringing = std::max(out.bringing, layer.bringing);
    out.unpacking = std::max(out.unpacking, layer.unpacking);
  }
  return out;
}

// Queries, keys and values of one layer are joined (ArModel::fuse): a copy beside the parts while that happens, and for
// good where the parts are mapped.
void add_joined(PartCost& cost, const ArModel& stored, const ArModel& sketch, at::Device device) {
  int64_t largest = 0;
  for (size_t i = 0; i < stored.layers.size(); ++i) {
    const ArAttention &from = stored.layers[i].attention, &to = sketch.layers[i].attention;
    int64_t bytes = 0, copied = 0;
    for (Linear ArAttention::*part : {&ArAttention::q, &ArAttention::k, &ArAttention::v}) {
      for (at::Tensor Linear::*member : {&Linear::weight, &Linear::scale, &Linear::bias}) {
        const at::Tensor& wanted = (to.*part).*member;
        if (!wanted.defined()) continue;
        bytes += static_cast<int64_t>(wanted.nbytes());
        copied += own_bytes((from.*part).*member, wanted, device);
      }
    }
    if (copied == 0) {
      cost.resident += bytes;
    } else {
      largest = std::max(largest, bytes);
    }
  }
  cost.bringing = std::max(cost.bringing, largest);
}

}  // namespace

int64_t PartCost::layers_from(size_t first, size_t end) const {
  int64_t bytes = 0;
  for (size_t i = first; i < end; ++i) bytes += layers[i];
  return bytes;
}

int64_t own_bytes(const Parameter& stored, const Parameter& sketch, at::Device device) {
  return own_bytes(*stored.tensor, *sketch.tensor, device) +
         (stored.quantised() ? own_bytes(*stored.scale, *sketch.scale, device) : 0);
}

AllLists part_lists(Models& models) {
  AllLists out;
  const auto at = [&](WeightPart part) -> PartLists& { return out[static_cast<size_t>(part)]; };
  at(WeightPart::ar) = cut(models.ar, models.ar.layers, [](ArLayer& l, ParameterList& list) { l.list(list, "", 0); });
  at(WeightPart::visual_tokenizer) = cut(models.visual_tokenizer, models.visual_tokenizer.tower.blocks,
                                         [](VisionBlock& b, ParameterList& list) { b.list(list, ""); });
  at(WeightPart::glyph) =
      cut(models.glyph, models.glyph.blocks, [](GlyphBlock& b, ParameterList& list) { b.list(list, ""); });
  at(WeightPart::dit) =
      cut(models.dit, models.dit.transformer_blocks, [](DitBlock& b, ParameterList& list) { b.list(list, ""); });
  ParameterList constant = constant_list(models), encoder;
  models.vae.encoder.list(encoder, "encoder");
  if (models.vae.quant_conv) models.vae.quant_conv->list(encoder, "quant_conv");
  for (const Parameter& p : encoder) {
    const auto same = [&](const Parameter& other) { return other.tensor == p.tensor; };
    if (std::none_of(constant.begin(), constant.end(), same)) at(WeightPart::vae_encoder).frame.push_back(p);
  }
  models.vae.decoder.list(at(WeightPart::vae_decoder).frame, "decoder");
  if (models.vae.post_quant_conv) {
    models.vae.post_quant_conv->list(at(WeightPart::vae_decoder).frame, "post_quant_conv");
  }
  return out;
}

ParameterList constant_list(Models& models) {
  ParameterList out;
  models.vae.encoder.conv_in.list(out, "encoder.conv_in");
  return out;
}

AllCosts part_costs(Models& stored, Models& sketch, const Adapters& adapters, at::Device device) {
  const AllLists from = part_lists(stored), to = part_lists(sketch);
  AllCosts out;
  for (size_t i = 0; i < kWeightParts; ++i) {
    const auto part = static_cast<WeightPart>(i);
    static const LowRankMap none;
    const LowRankMap& pairs = part == WeightPart::ar ? adapters.ar : part == WeightPart::dit ? adapters.dit : none;
    out[i] = cost_of(from[i], to[i], pairs, device);
  }
  add_joined(out[static_cast<size_t>(WeightPart::ar)], stored.ar, sketch.ar, device);
  return out;
}

}  // namespace glmimage
