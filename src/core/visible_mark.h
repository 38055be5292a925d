#pragma once

#include <cstdint>

#include "core/image.h"

namespace glmimage {

// The mark that people see: "AI生成" (made by AI), white on a darkened plate in the bottom right corner. Each sign is
// at least 5 % of the picture's short side high, as GB 45438-2025 asks, and at least 8 pixels.
void draw_visible_mark(Image& image);

// Throws ErrorKind::usage when a picture of this size has no room for a mark that can be read.
void require_room_for_mark(int64_t width, int64_t height);

}  // namespace glmimage
