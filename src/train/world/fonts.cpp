#include <ft2build.h>
#include FT_FREETYPE_H

#include <memory>
#include <string>

#include "core/error.h"
#include "train/world/sprites.h"
#include "train/world/writing.h"

namespace glmimage::train::world {
namespace {

constexpr int64_t kEmojiSize = 109;  // the one size NotoColorEmoji's bitmaps have

using Library = std::unique_ptr<std::remove_pointer_t<FT_Library>, decltype(&FT_Done_FreeType)>;
using Face = std::unique_ptr<std::remove_pointer_t<FT_Face>, decltype(&FT_Done_Face)>;

Library open_library() {
  FT_Library library = nullptr;
  if (FT_Init_FreeType(&library) != 0) fail(ErrorKind::internal, "FreeType does not start");
  return Library(library, &FT_Done_FreeType);
}

Face open_face(FT_Library library, const std::string& path, const char* package, FT_Long index = 0) {
  FT_Face face = nullptr;
  const FT_Error code = FT_New_Face(library, path.c_str(), index, &face);
  if (code != 0) {
    fail(ErrorKind::usage, "cannot read the font ", path, " (FreeType error ", code, "): install the Debian package ",
         package, " or name the font's path");
  }
  return Face(face, &FT_Done_Face);
}

// The face of a collection that has the forms of characters used on the Chinese mainland, or the only face there is.
Face open_chinese_face(FT_Library library, const std::string& path) {
  static const char* const kPackage = "fonts-noto-cjk (wanted only for worlds with Chinese)";
  Face face = open_face(library, path, kPackage);
  const FT_Long faces = face->num_faces;
  for (FT_Long i = 1; i < faces && !std::string(face->family_name).ends_with(" SC"); ++i) {
    face = open_face(library, path, kPackage, i);
  }
  return face;
}

// The middle square of the bitmap: NotoColorEmoji's are 136 x 128, with nothing in the outer columns.
Sprite load_emoji(FT_Face face, const Emoji& emoji) {
  const FT_UInt glyph = FT_Get_Char_Index(face, emoji.code_point);
  if (glyph == 0 || FT_Load_Glyph(face, glyph, FT_LOAD_COLOR) != 0 ||
      face->glyph->bitmap.pixel_mode != FT_PIXEL_MODE_BGRA || face->glyph->bitmap.width < face->glyph->bitmap.rows) {
    fail(ErrorKind::usage, "the emoji font has no colour bitmap for \"", emoji.name,
         "\": another font, or a FreeType built without PNG?");
  }
  const FT_Bitmap& bitmap = face->glyph->bitmap;
  const int64_t side = bitmap.rows, margin = (bitmap.width - side) / 2;
  Sprite sprite{side, side, std::vector<uint8_t>(side * side * 4)};
  for (int64_t y = 0; y < side; ++y) {
    for (int64_t x = 0; x < side; ++x) {
      const unsigned char* bgra = bitmap.buffer + y * bitmap.pitch + (margin + x) * 4;  // premultiplied already
      uint8_t* rgba = &sprite.rgba[(y * side + x) * 4];
      rgba[0] = bgra[2], rgba[1] = bgra[1], rgba[2] = bgra[0], rgba[3] = bgra[3];
    }
  }
  return sprite;
}

Glyph load_sign(FT_Face face, char32_t sign, FT_Int32 flags) {
  const FT_UInt index = FT_Get_Char_Index(face, sign);
  if (index == 0 || FT_Load_Glyph(face, index, FT_LOAD_RENDER | flags) != 0) {
    fail(ErrorKind::usage, "the font ", face->family_name, " has no sign ", static_cast<uint32_t>(sign),
         " (decimal code point): another font than DejaVu Sans Mono Bold and Noto Sans CJK?");
  }
  const FT_Bitmap& bitmap = face->glyph->bitmap;
  Glyph glyph{
      {bitmap.width, bitmap.rows, {}}, face->glyph->bitmap_left, face->glyph->bitmap_top, face->glyph->advance.x >> 6};
  for (int64_t y = 0; y < glyph.mask.height; ++y) {
    const unsigned char* row = bitmap.buffer + y * bitmap.pitch;
    glyph.mask.coverage.insert(glyph.mask.coverage.end(), row, row + glyph.mask.width);
  }
  return glyph;
}

GlyphSet load_signs(FT_Face face, Script script, int64_t picture) {
  const Lettering lettering = lettering_of(script);
  const int64_t size = scaled(lettering.font_size, picture);
  if (FT_Set_Pixel_Sizes(face, 0, static_cast<FT_UInt>(size)) != 0) {
    fail(ErrorKind::usage, "the font ", face->family_name, " cannot be drawn ", size,
         " pixels high: a font of fixed bitmaps?");
  }
  GlyphSet set{script, size, scaled(lettering.cell, picture), 0, {}};
  // Hinting takes more time than all the rest of a Chinese character, and its strokes are many enough without.
  const FT_Int32 flags = script == Script::latin ? FT_LOAD_DEFAULT : FT_LOAD_NO_HINTING;
  for (const char32_t sign : signs_of(script)) set.signs.push_back(load_sign(face, sign, flags));
  // The em box reaches from 0.12 em below the baseline to 0.88 em above it.
  set.cap_height = script == Script::latin ? set.signs.at(signs_of(script).find(U'H')).top : (size * 76 + 50) / 100;
  return set;
}

// An object stands out when at least half of its pixels differ clearly from the background. Every second pixel each way
// tells.
std::vector<uint8_t> compare_with_backgrounds(const Sprite& sprite) {
  constexpr int kNear = 70;  // RGB distance
  std::vector<uint8_t> result;
  for (const Colour& colour : colour_table()) {
    int64_t seen = 0, near = 0;
    for (int64_t y = 0; y < sprite.height; y += 2) {
      for (int64_t x = 0; x < sprite.width; x += 2) {
        const uint8_t* rgba = &sprite.rgba[(y * sprite.width + x) * 4];
        if (rgba[3] < 250) continue;
        int square = 0;
        for (int c = 0; c < 3; ++c) square += (rgba[c] - colour.rgb[c]) * (rgba[c] - colour.rgb[c]);
        ++seen;
        near += square < kNear * kNear ? 1 : 0;
      }
    }
    result.push_back(2 * near <= seen ? 1 : 0);
  }
  return result;
}

}  // namespace

Assets prepare_assets(int64_t picture, const FontFiles& fonts) {
  const Library library = open_library();
  const Face emoji_face = open_face(library.get(), fonts.emoji, "fonts-noto-color-emoji");
  const Face text_face = open_face(library.get(), fonts.text, "fonts-dejavu-core");
  if (emoji_face->num_fixed_sizes < 1 || FT_Select_Size(emoji_face.get(), 0) != 0) {
    fail(ErrorKind::usage, fonts.emoji, " has no bitmaps of size ", kEmojiSize,
         ": the outline variant of the emoji font?");
  }
  Assets assets;
  const int64_t side = scaled(kObjectSize, picture);
  for (const Emoji& emoji : emoji_table()) {
    Sprite original = load_emoji(emoji_face.get(), emoji);
    assets.emoji_stands_out.push_back(compare_with_backgrounds(original));
    assets.sprites.push_back(resize(original, side, side));
    assets.originals.push_back(std::move(original));
  }
  for (const Shape& shape : shape_table()) assets.masks.push_back(draw_shape(shape.form, side));
  assets.glyphs.push_back(load_signs(text_face.get(), Script::latin, picture));
  if (fonts.chinese.empty()) return assets;
  const Face chinese_face = open_chinese_face(library.get(), fonts.chinese);
  assets.glyphs.push_back(load_signs(chinese_face.get(), Script::chinese, picture));
  return assets;
}

}  // namespace glmimage::train::world
