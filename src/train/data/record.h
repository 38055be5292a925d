#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/picture_size.h"
#include "train/data/extent.h"

namespace glmimage::train {

// A picture that has not been decoded: where it is and how large it is.
struct Picture {
  std::string name;  // for people: "cats/1.jpg", "shard-0000.tar: 000123.jpg"
  Extent bytes;
  PictureSize size;  // upright, from the header
};

// One entry of a data set. Text to picture is editing with no sources.
struct Record {
  Picture target;
  std::vector<Picture> sources;       // reference pictures of an editing pair, in prompt order
  std::vector<std::string> captions;  // one is drawn for each visit; of an editing pair: instructions
  int64_t repeats = 1;                // visits in an epoch
};

}  // namespace glmimage::train
