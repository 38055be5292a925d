#include "train/distributed/flat_layout.h"

#include <algorithm>
#include <cstdlib>

#include "core/error.h"

namespace glmimage::train {
namespace {

// Parameters begin at multiples of 64 bytes of float32, as tensors of their own would.
constexpr int64_t kAlignment = 16;

int64_t round_up(int64_t value, int64_t to) { return (value + to - 1) / to * to; }

int64_t elements_of(const Parameter& parameter) {
  int64_t product = 1;
  for (int64_t side : parameter.shape) product *= side;
  return product;
}

void append(Unit& unit, const ParameterList& list, size_t parameter) {
  const int64_t length = elements_of(list[parameter]);
  unit.places.push_back({parameter, unit.size, length});
  unit.size = round_up(unit.size + length, kAlignment);
}

void close(Unit& unit, int64_t ranks) { unit.size = round_up(unit.size, kAlignment * ranks); }

// The number behind "<stack>." in a parameter's name; -1 where it is not of the stack.
int64_t layer_of(const std::string& name, const std::string& stack) {
  const size_t begin = stack.size() + 1;
  if (name.rfind(stack + ".", 0) != 0) return -1;
  const size_t end = name.find('.', begin);
  if (end == std::string::npos || end == begin || end - begin > 9) return -1;
  const std::string digits = name.substr(begin, end - begin);
  if (digits.find_first_not_of("0123456789") != std::string::npos) return -1;
  return std::strtoll(digits.c_str(), nullptr, 10);
}

}  // namespace

std::vector<Unit> bucket_units(const ParameterList& list, const std::vector<std::string>& stacks, int64_t elements,
                               int64_t ranks) {
  std::vector<size_t> of_stacks, others;
  for (size_t left = list.size(); left > 0; --left) {
    const bool in_stack = std::any_of(stacks.begin(), stacks.end(), [&](const std::string& stack) {
      return layer_of(list[left - 1].name, stack) >= 0;
    });
    (in_stack ? of_stacks : others).push_back(left - 1);
  }
  of_stacks.insert(of_stacks.end(), others.begin(), others.end());
  std::vector<Unit> units;
  for (size_t parameter : of_stacks) {
    if (units.empty() || units.back().size + elements_of(list[parameter]) > elements) {
      units.push_back({.name = concat("bucket ", units.size()), .places = {}});
    }
    append(units.back(), list, parameter);
  }
  for (Unit& unit : units) close(unit, ranks);
  return units;
}

LayerUnits layer_units(const ParameterList& list, const std::vector<std::string>& stacks, int64_t ranks) {
  LayerUnits out;
  std::vector<std::vector<Unit>> layers(stacks.size());
  Unit rest{.name = "the parameters outside the layers", .places = {}};
  for (size_t i = 0; i < list.size(); ++i) {
    Unit* unit = &rest;
    for (size_t s = 0; s < stacks.size(); ++s) {
      const int64_t layer = layer_of(list[i].name, stacks[s]);
      if (layer < 0) continue;
      while (static_cast<int64_t>(layers[s].size()) <= layer) {
        layers[s].push_back({.name = concat(stacks[s], ".", layers[s].size()), .places = {}});
      }
      unit = &layers[s][static_cast<size_t>(layer)];
    }
    append(*unit, list, i);
  }
  out.of_stack.resize(stacks.size());
  for (size_t s = stacks.size(); s > 0; --s) {
    std::vector<size_t>& numbers = out.of_stack[s - 1];
    numbers.resize(layers[s - 1].size());
    for (size_t left = numbers.size(); left > 0; --left) {
      numbers[left - 1] = out.units.size();
      out.units.push_back(std::move(layers[s - 1][left - 1]));
    }
  }
  out.rest = out.units.size();
  out.units.push_back(std::move(rest));
  for (Unit& unit : out.units) close(unit, ranks);
  return out;
}

std::vector<Piece> pieces_of(const Unit& unit, int64_t rank, int64_t ranks) {
  const int64_t begin = rank * unit.slice(ranks), end = begin + unit.slice(ranks);
  std::vector<Piece> pieces;
  for (const Place& place : unit.places) {
    const int64_t from = std::max(begin, place.offset), to = std::min(end, place.offset + place.length);
    if (from < to) pieces.push_back({place.parameter, from - place.offset, from - begin, to - from});
  }
  return pieces;
}

}  // namespace glmimage::train
