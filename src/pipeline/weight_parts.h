#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/parameters.h"
#include "pipeline/adapters.h"
#include "pipeline/models.h"

namespace glmimage {

// What of the weights comes and goes together.
enum class WeightPart { visual_tokenizer, vae_encoder, ar, glyph, dit, vae_decoder };
constexpr size_t kWeightParts = 6;

// The parameters of one part: what every pass needs throughout, and each layer's.
struct PartLists {
  ParameterList frame;
  std::vector<ParameterList> layers;
};
using AllLists = std::array<PartLists, kWeightParts>;  // by WeightPart

// Points into the models. Left out is the VAE's first convolution, which tells the VAE's type and device.
AllLists part_lists(Models& models);
// What is left out there, and is never away.
ParameterList constant_list(Models& models);

// Bytes a part's weights take for themselves: on a device all of them, on a CPU those that are not used as their file
// has them.
struct PartCost {
  int64_t frame = 0;
  std::vector<int64_t> layers;
  int64_t resident = 0;   // of all, while all stay: on a CPU with the joined matrices of the language model
  int64_t unpacking = 0;  // of a matrix of few bits that is written out for a product
  int64_t bringing = 0;   // the most that is needed on the way, for the time it takes to bring a layer or the frame

  int64_t layers_from(size_t first, size_t end) const;
};
using AllCosts = std::array<PartCost, kWeightParts>;

// `stored`: the models as their files have them (mapped); `sketch`: as they are to be (on the device at::kMeta);
// both from one checkpoint.
AllCosts part_costs(Models& stored, Models& sketch, const Adapters& adapters, at::Device device);

// What one parameter takes for itself, without adapters.
int64_t own_bytes(const Parameter& stored, const Parameter& sketch, at::Device device);

}  // namespace glmimage
