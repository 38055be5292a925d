#include "core/visible_mark.h"

#include <ft2build.h>
#include FT_FREETYPE_H

#include <algorithm>
#include <memory>
#include <type_traits>
#include <vector>

#include "core/error.h"
#include "core/visible_mark_font.h"

namespace glmimage {
namespace {

using Library = std::unique_ptr<std::remove_pointer_t<FT_Library>, decltype(&FT_Done_FreeType)>;
using Face = std::unique_ptr<std::remove_pointer_t<FT_Face>, decltype(&FT_Done_Face)>;

constexpr char32_t kText[] = U"AI生成";
// The lowest sign, the A, is 0.73 em high.
constexpr int64_t kEmPercent = 7;  // of the short side: 5 / 0.73, rounded up
constexpr int64_t kLeastEm = 12;   // pixels; below, 生成 cannot be read
constexpr int kPlateShade = 150;   // of 255: how much of the picture is taken out behind the signs

struct Layout {
  int64_t em, margin, width, height;  // of the plate, all in pixels
};

// The signs' widths are 0.63, 0.31, 1 and 1 em.
Layout layout_of(int64_t width, int64_t height) {
  const int64_t em = std::max(kLeastEm, (std::min(width, height) * kEmPercent + 99) / 100);
  const int64_t margin = std::max<int64_t>(2, em / 5);
  return {.em = em, .margin = margin, .width = 3 * em + 2 * margin, .height = em + 2 * margin};
}

struct Mask {
  int64_t width, height;
  std::vector<uint8_t> coverage;  // (height, width)
};

void add_sign(Mask& mask, const FT_GlyphSlot slot, int64_t pen, int64_t baseline) {
  const FT_Bitmap& bitmap = slot->bitmap;
  for (int64_t y = 0; y < bitmap.rows; ++y) {
    for (int64_t x = 0; x < bitmap.width; ++x) {
      const int64_t to_x = pen + slot->bitmap_left + x, to_y = baseline - slot->bitmap_top + y;
      if (to_x < 0 || to_y < 0 || to_x >= mask.width || to_y >= mask.height) continue;
      uint8_t& cell = mask.coverage[static_cast<size_t>(to_y * mask.width + to_x)];
      cell = std::max(cell, bitmap.buffer[y * bitmap.pitch + x]);
    }
  }
}

// The four signs on their plate. FreeType's error is a fault of ours, as the font is.
Mask draw_signs(const Layout& layout) {
  FT_Library raw_library = nullptr;
  if (FT_Init_FreeType(&raw_library) != 0) fail(ErrorKind::internal, "FreeType does not start");
  const Library library(raw_library, &FT_Done_FreeType);
  const std::span<const uint8_t> font = visible_mark_font();
  FT_Face raw_face = nullptr;
  if (FT_New_Memory_Face(library.get(), font.data(), static_cast<FT_Long>(font.size()), 0, &raw_face) != 0) {
    fail(ErrorKind::internal, "FreeType does not read the font of the mark");
  }
  const Face face(raw_face, &FT_Done_Face);
  bool ok = FT_Set_Pixel_Sizes(face.get(), 0, static_cast<FT_UInt>(layout.em)) == 0;
  Mask mask{layout.width, layout.height, std::vector<uint8_t>(static_cast<size_t>(layout.width * layout.height))};
  // The em box reaches from 0.12 em below the baseline to 0.88 em above it.
  const int64_t baseline = layout.margin + (layout.em * 88 + 50) / 100;
  int64_t pen = layout.margin;
  for (const char32_t* sign = kText; *sign != 0; ++sign) {
    const FT_UInt glyph = FT_Get_Char_Index(face.get(), *sign);
    ok = ok && glyph != 0 && FT_Load_Glyph(face.get(), glyph, FT_LOAD_RENDER | FT_LOAD_NO_HINTING) == 0;
    if (!ok) fail(ErrorKind::internal, "FreeType does not draw the mark");
    add_sign(mask, face->glyph, pen, baseline);
    pen += (face->glyph->advance.x + 32) >> 6;
  }
  return mask;
}

}  // namespace

void require_room_for_mark(int64_t width, int64_t height) {
  const Layout layout = layout_of(width, height);
  if (width >= layout.width && height >= layout.height) return;
  fail(ErrorKind::usage, "a picture of ", width, " x ", height, " px has no room for the visible mark, which is ",
       layout.width, " x ", layout.height, " px there; the label 'hidden' needs none");
}

void draw_visible_mark(Image& image) {
  require_room_for_mark(image.width, image.height);
  const Layout layout = layout_of(image.width, image.height);
  const Mask mask = draw_signs(layout);
  const int64_t left = image.width - mask.width, top = image.height - mask.height;
  for (int64_t y = 0; y < mask.height; ++y) {
    uint8_t* pixel = image.pixels.data() + 3 * ((top + y) * image.width + left);
    for (int64_t x = 0; x < mask.width; ++x) {
      const int ink = mask.coverage[static_cast<size_t>(y * mask.width + x)];
      for (int channel = 0; channel < 3; ++channel, ++pixel) {
        const int plate = (*pixel * (255 - kPlateShade) + 127) / 255;
        *pixel = static_cast<uint8_t>((plate * (255 - ink) + 255 * ink + 127) / 255);
      }
    }
  }
}

}  // namespace glmimage
