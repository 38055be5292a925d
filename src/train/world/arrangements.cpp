#include "train/world/arrangements.h"

#include "train/world/world_tables.h"

namespace glmimage::train::world {

const std::vector<Place>& places_of(Arrangement arrangement) {
  // The middles of objects that begin with the first, second or third token of four.
  constexpr int64_t kFirst = 32, kMiddle = 64, kLast = 96;
  static const std::vector<std::vector<Place>> table = {
      {},                                                     // text_only
      {{kMiddle, kMiddle}},                                   // centre
      {{kFirst, kMiddle}},                                    // left
      {{kLast, kMiddle}},                                     // right
      {{kMiddle, kFirst}},                                    // top
      {{kMiddle, kLast}},                                     // bottom
      {{kFirst, kFirst}},                                     // top_left
      {{kLast, kFirst}},                                      // top_right
      {{kFirst, kLast}},                                      // bottom_left
      {{kLast, kLast}},                                       // bottom_right
      {{kFirst, kMiddle}, {kLast, kMiddle}},                  // left_of
      {{kLast, kMiddle}, {kFirst, kMiddle}},                  // right_of
      {{kMiddle, kFirst}, {kMiddle, kLast}},                  // above
      {{kMiddle, kLast}, {kMiddle, kFirst}},                  // below
      {{kFirst, kMiddle}, {kLast, kMiddle}},                  // row
      {{kFirst, kFirst}, {kLast, kFirst}, {kMiddle, kLast}},  // triangle
  };
  return table.at(static_cast<size_t>(arrangement));
}

bool is_relation(Arrangement arrangement) {
  return arrangement >= Arrangement::left_of && arrangement <= Arrangement::below;
}

bool is_count(Arrangement arrangement) {
  return arrangement == Arrangement::row || arrangement == Arrangement::triangle;
}

const std::vector<TextPlace>& text_places(Arrangement arrangement) {
  static const std::vector<TextPlace> nowhere, middle = {TextPlace::centre}, below = {TextPlace::bottom},
                                               above = {TextPlace::top}, both = {TextPlace::bottom, TextPlace::top};
  switch (arrangement) {
    case Arrangement::text_only: return middle;
    case Arrangement::top:
    case Arrangement::top_left:
    case Arrangement::top_right: return below;
    case Arrangement::bottom:
    case Arrangement::bottom_left:
    case Arrangement::bottom_right: return above;
    case Arrangement::above:
    case Arrangement::below:
    case Arrangement::triangle: return nowhere;
    default: return both;
  }
}

Object object_of_class(int64_t class_id) {
  const int64_t emoji = static_cast<int64_t>(emoji_table().size()), colours = background_count();
  Object object;
  object.index = class_id - 1;
  if (object.index < emoji) return object;
  object.kind = ObjectKind::shape;
  object.colour = (object.index - emoji) % colours;
  object.index = (object.index - emoji) / colours;
  return object;
}

}  // namespace glmimage::train::world
