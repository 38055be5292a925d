#include <ft2build.h>
#include FT_FREETYPE_H

#include <cmath>
#include <memory>

#include "core/error.h"
#include "train/world/sprites.h"

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

Face open_face(FT_Library library, const std::string& path, const char* package) {
  FT_Face face = nullptr;
  const FT_Error code = FT_New_Face(library, path.c_str(), 0, &face);
  if (code != 0) {
    fail(ErrorKind::usage, "cannot read the font ", path, " (FreeType error ", code, "): install the Debian package ",
         package, " or name the font's path");
  }
  return Face(face, &FT_Done_Face);
}

Sprite load_emoji(FT_Face face, const Emoji& emoji) {
  const FT_UInt glyph = FT_Get_Char_Index(face, emoji.code_point);
  if (glyph == 0 || FT_Load_Glyph(face, glyph, FT_LOAD_COLOR) != 0 ||
      face->glyph->bitmap.pixel_mode != FT_PIXEL_MODE_BGRA) {
    fail(ErrorKind::usage, "the emoji font has no colour bitmap for \"", emoji.name,
         "\": another font, or a FreeType built without PNG?");
  }
  const FT_Bitmap& bitmap = face->glyph->bitmap;
  Sprite sprite{bitmap.width, bitmap.rows, std::vector<uint8_t>(static_cast<size_t>(bitmap.width) * bitmap.rows * 4)};
  for (int64_t y = 0; y < sprite.height; ++y) {
    for (int64_t x = 0; x < sprite.width; ++x) {
      const unsigned char* bgra = bitmap.buffer + y * bitmap.pitch + x * 4;  // premultiplied already
      uint8_t* rgba = &sprite.rgba[(y * sprite.width + x) * 4];
      rgba[0] = bgra[2], rgba[1] = bgra[1], rgba[2] = bgra[0], rgba[3] = bgra[3];
    }
  }
  return sprite;
}

Glyph load_letter(FT_Face face, char letter) {
  const FT_UInt index = FT_Get_Char_Index(face, static_cast<FT_ULong>(letter));
  if (index == 0 || FT_Load_Glyph(face, index, FT_LOAD_RENDER) != 0) {
    fail(ErrorKind::usage, "the text font has no letter '", letter, "': another font than DejaVu Sans Bold?");
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

GlyphSet load_letters(FT_Face face, int64_t size) {
  if (FT_Set_Pixel_Sizes(face, 0, static_cast<FT_UInt>(size)) != 0) {
    fail(ErrorKind::usage, "the text font cannot be drawn ", size, " pixels high: a font of fixed bitmaps?");
  }
  GlyphSet set;
  set.size = size;
  for (char letter = 'A'; letter <= 'Z'; ++letter) set.letters[letter_index(letter)] = load_letter(face, letter);
  for (char letter = '0'; letter <= '9'; ++letter) set.letters[letter_index(letter)] = load_letter(face, letter);
  set.cap_height = set.letters[letter_index('H')].top;
  return set;
}

// An object stands out when at least half of its pixels differ clearly from the background.
std::vector<uint8_t> compare_with_backgrounds(const Sprite& sprite) {
  constexpr double kNear = 70;  // RGB distance
  std::vector<uint8_t> result;
  for (const Colour& colour : colour_table()) {
    int64_t seen = 0, near = 0;
    for (size_t i = 0; i < sprite.rgba.size(); i += 4) {
      if (sprite.rgba[i + 3] < 250) continue;
      double square = 0;
      for (int c = 0; c < 3; ++c) square += std::pow(static_cast<double>(sprite.rgba[i + c]) - colour.rgb[c], 2);
      ++seen;
      near += std::sqrt(square) < kNear ? 1 : 0;
    }
    result.push_back(2 * near <= seen ? 1 : 0);
  }
  return result;
}

}  // namespace

Assets prepare_assets(int64_t picture, const std::string& emoji_font, const std::string& text_font) {
  const Library library = open_library();
  const Face emoji_face = open_face(library.get(), emoji_font, "fonts-noto-color-emoji");
  const Face text_face = open_face(library.get(), text_font, "fonts-dejavu-core");
  if (emoji_face->num_fixed_sizes < 1 || FT_Select_Size(emoji_face.get(), 0) != 0) {
    fail(ErrorKind::usage, emoji_font, " has no bitmaps of size ", kEmojiSize,
         ": the outline variant of the emoji font?");
  }
  Assets assets;
  const int64_t height = scaled(kObjectSize, picture);
  for (const Emoji& emoji : emoji_table()) {
    Sprite original = load_emoji(emoji_face.get(), emoji);
    const int64_t width = (original.width * height + original.height / 2) / original.height;
    assets.emoji_stands_out.push_back(compare_with_backgrounds(original));
    assets.sprites.push_back(resize(original, width, height));
    assets.originals.push_back(std::move(original));
  }
  for (const Shape& shape : shape_table()) {
    assets.masks.push_back(draw_shape(shape.form, height));
  }
  for (const int64_t base : text_sizes()) {
    assets.glyphs.push_back(load_letters(text_face.get(), scaled(base, picture)));
  }
  return assets;
}

}  // namespace glmimage::train::world
