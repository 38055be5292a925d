#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/parameters.h"

namespace glmimage::train {

// Parameters that travel together lie behind each other in one flat tensor, a unit, whose equal slices are the ranks'
// (FSDP, Zhao et al. 2023). Pure arithmetic, the same on every rank.

// A parameter in a unit: elements [offset, offset + length).
struct Place {
  size_t parameter;  // its number in the list
  int64_t offset, length;
};

struct Unit {
  std::string name;  // "transformer_blocks.3", "bucket 0"
  std::vector<Place> places;
  int64_t size = 0;  // padded, so that every rank's slice is as long

  int64_t slice(int64_t ranks) const { return size / ranks; }
};

// What of a parameter lies in one rank's slice: its elements [in_parameter, in_parameter + length), which are the
// slice's [in_slice, in_slice + length).
struct Piece {
  size_t parameter;
  int64_t in_parameter, in_slice, length;
};

// A stack of layers is named by its prefix: "transformer_blocks" has the parameters "transformer_blocks.<layer>.…".
//
// Units of at most `elements`, unless one parameter is larger: first the stacks' parameters, then all others, each from
// the list's end to its beginning. About the order in which a backward pass makes gradients.
std::vector<Unit> bucket_units(const ParameterList& list, const std::vector<std::string>& stacks, int64_t elements,
                               int64_t ranks);

// One unit for each layer of each stack, the last layers first, and at the end one for everything else. A unit may be
// empty.
struct LayerUnits {
  std::vector<Unit> units;
  std::vector<std::vector<size_t>> of_stack;  // the unit of each layer of each stack, by layer
  size_t rest = 0;
};
LayerUnits layer_units(const ParameterList& list, const std::vector<std::string>& stacks, int64_t ranks);

std::vector<Piece> pieces_of(const Unit& unit, int64_t rank, int64_t ranks);

}  // namespace glmimage::train
