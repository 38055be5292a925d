#pragma once

#include <vector>

#include "train/world/world.h"

namespace glmimage::train::world {

struct Place {
  int64_t x, y;  // the middle of an object, in a picture of kBaseSize
};

// Where the objects lie, one place each. Every object is two visual tokens high and wide and begins where a token
// begins: so an object is always cut into the same parts, few enough for a code each (docs/training.md).
const std::vector<Place>& places_of(Arrangement arrangement);

bool is_relation(Arrangement arrangement);
// Equal objects: a row or a triangle.
bool is_count(Arrangement arrangement);

// Where a text may go, the usual place first: it has a row of tokens to itself. Empty when the objects fill the
// picture.
const std::vector<TextPlace>& text_places(Arrangement arrangement);

Object object_of_class(int64_t class_id);

}  // namespace glmimage::train::world
