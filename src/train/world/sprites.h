#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "train/world/world_tables.h"

// The world's drawing material, prepared once.
namespace glmimage::train::world {

// Premultiplied RGBA, row by row.
struct Sprite {
  int64_t width = 0;
  int64_t height = 0;
  std::vector<uint8_t> rgba;  // (height, width, 4)
};

// Coverage, 0-255, row by row.
struct Mask {
  int64_t width = 0;
  int64_t height = 0;
  std::vector<uint8_t> coverage;  // (height, width)
};

// A letter or Chinese character at one font size; lengths in pixels, as FreeType gives them.
struct Glyph {
  Mask mask;
  int64_t left = 0;     // from the pen to the mask's left edge
  int64_t top = 0;      // from the baseline up to the mask's top edge
  int64_t advance = 0;  // to the next letter
};

// A script at the size it is written in.
struct GlyphSet {
  Script script = Script::latin;
  int64_t size = 0;          // pixels per em
  int64_t cell = 0;          // pixels from one sign to the next
  int64_t cap_height = 0;    // of 'H'; of Chinese characters, what puts their em box in the middle
  std::vector<Glyph> signs;  // as signs_of(script)
};

struct Assets {
  std::vector<Sprite> originals;                       // by emoji, as large as the font has them
  std::vector<Sprite> sprites;                         // by emoji, as high as objects are
  std::vector<Mask> masks;                             // by shape, as high as objects are
  std::vector<GlyphSet> glyphs;                        // by script; Chinese only where its font was asked for
  std::vector<std::vector<uint8_t>> emoji_stands_out;  // by emoji, then background
};

// The size an object or font of `base` pixels in a 128 pixel picture has in one of `picture` pixels.
int64_t scaled(int64_t base, int64_t picture);

// Bicubic (Catmull-Rom) with the filter widened when shrinking, on premultiplied colours.
Sprite resize(const Sprite& sprite, int64_t width, int64_t height);

// A shape in a size x size box, 4 x 4 samples per pixel.
Mask draw_shape(ShapeForm form, int64_t size);

// The fonts to read; an empty Chinese font leaves that script out.
struct FontFiles {
  std::string emoji;
  std::string text;
  std::string chinese;
};

// Errors: usage when a font cannot be read or lacks a glyph.
Assets prepare_assets(int64_t picture, const FontFiles& fonts);

}  // namespace glmimage::train::world
