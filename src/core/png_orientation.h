#pragma once

#include "core/picture_size.h"

namespace glmimage {

// How a PNG file says its picture is turned: EXIF orientation 1 to 8, and 1 where it says nothing. Whoever needs it
// asks here, so that what a header promises is what decoding gives: it is that of the first eXIf chunk before the
// pixels whose checksum is right. A few bytes a chunk are read. Chunks of more than 1 MiB and those behind 10,000
// others are not looked at.
int png_orientation(const ReadAt& read);

ReadAt read_bytes(std::span<const uint8_t> bytes);  // of memory that outlives it

}  // namespace glmimage
