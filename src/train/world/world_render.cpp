#include <algorithm>

#include "core/error.h"
#include "train/world/sprites.h"
#include "train/world/world.h"
#include "train/world/writing.h"

namespace glmimage::train::world {
namespace {

// The part of a picture of side `size` that a box at (left, top) covers, in the box's own coordinates.
struct Window {
  int64_t x0, x1, y0, y1;
};

Window clip(int64_t left, int64_t top, int64_t width, int64_t height, int64_t size) {
  return {std::max<int64_t>(0, -left), std::min(width, size - left), std::max<int64_t>(0, -top),
          std::min(height, size - top)};
}

// a * b / 255, rounded, for bytes.
uint8_t share(int a, int b) {
  const int product = a * b + 128;
  return static_cast<uint8_t>((product + (product >> 8)) >> 8);
}

void paint(Image& image, const Sprite& sprite, int64_t left, int64_t top) {
  const Window window = clip(left, top, sprite.width, sprite.height, image.width);
  for (int64_t y = window.y0; y < window.y1; ++y) {
    const uint8_t* from = &sprite.rgba[(y * sprite.width + window.x0) * 4];
    uint8_t* to = &image.pixels[((top + y) * image.width + left + window.x0) * 3];
    for (int64_t x = window.x0; x < window.x1; ++x, from += 4, to += 3) {
      for (int c = 0; c < 3; ++c) to[c] = static_cast<uint8_t>(std::min(255, from[c] + share(to[c], 255 - from[3])));
    }
  }
}

void paint(Image& image, const Mask& mask, const Colour& colour, int64_t left, int64_t top) {
  const Window window = clip(left, top, mask.width, mask.height, image.width);
  for (int64_t y = window.y0; y < window.y1; ++y) {
    const uint8_t* from = &mask.coverage[y * mask.width + window.x0];
    uint8_t* to = &image.pixels[((top + y) * image.width + left + window.x0) * 3];
    for (int64_t x = window.x0; x < window.x1; ++x, ++from, to += 3) {
      for (int c = 0; c < 3; ++c) {
        to[c] = static_cast<uint8_t>(std::min(255, share(colour.rgb[c], *from) + share(to[c], 255 - *from)));
      }
    }
  }
}

// The prepared sprite, or one made now (into `made`) for another size than the usual one.
const Sprite& sprite_for(const Assets& assets, const Object& object, Sprite& made) {
  const Sprite& usual = assets.sprites.at(object.index);
  if (usual.height == object.size) return usual;
  const Sprite& original = assets.originals[object.index];
  made = resize(original, object.size, object.size);
  return made;
}

const Mask& mask_for(const Assets& assets, const Object& object, Mask& made) {
  const Mask& usual = assets.masks.at(object.index);
  if (usual.height == object.size) return usual;
  made = draw_shape(shape_table()[object.index].form, object.size);
  return made;
}

const GlyphSet& glyphs_of(const Assets& assets, Script script) {
  for (const GlyphSet& set : assets.glyphs) {
    if (set.script == script) return set;
  }
  fail(ErrorKind::usage, "a Chinese text was asked for of a world opened without Chinese");
}

void paint_text(Image& image, const Assets& assets, const Scene& scene) {
  const Writing writing = read_writing(scene.text);
  const GlyphSet& set = glyphs_of(assets, writing.script);
  int64_t cell = scene.text_left;
  const int64_t baseline = scene.text_centre_y + (set.cap_height + 1) / 2;
  for (const int64_t sign : writing.signs) {
    const Glyph& glyph = set.signs[sign];
    const int64_t pen = cell + (set.cell - glyph.advance) / 2;
    paint(image, glyph.mask, colour_table().at(scene.text_colour), pen + glyph.left, baseline - glyph.top);
    cell += set.cell;
  }
}

Image blank(int64_t size, const std::array<uint8_t, 3>& rgb) {
  Image image;
  image.width = size;
  image.height = size;
  image.pixels.resize(size * size * 3);
  const auto row = image.pixels.begin() + size * 3;
  for (auto to = image.pixels.begin(); to != row; to += 3) std::copy(rgb.begin(), rgb.end(), to);
  for (auto to = row; to != image.pixels.end(); to += size * 3) std::copy(image.pixels.begin(), row, to);
  return image;
}

// How much of each cell a thing covers, in units of fully covered pixels x 255.
class CellSums {
 public:
  CellSums(int64_t size, int64_t cells) : cells_(cells), cell_(size / cells), sums_(cells * cells) {}
  void add(int64_t x, int64_t y, int64_t coverage) { sums_[y / cell_ * cells_ + x / cell_] += coverage; }
  // Takes over every cell that is covered by 12 % or more, and more than by anything before.
  void claim(int64_t id, std::vector<int64_t>& best, std::vector<int64_t>& labels) const {
    for (size_t i = 0; i < sums_.size(); ++i) {
      if (sums_[i] * 100 < 12 * 255 * cell_ * cell_ || sums_[i] <= best[i]) continue;
      best[i] = sums_[i];
      labels[i] = id;
    }
  }

 private:
  int64_t cells_;
  int64_t cell_;
  std::vector<int64_t> sums_;  // (cells, cells)
};

// Adds bytes that lie `stride` apart (4 for a sprite's alpha, 1 for a mask).
void add_coverage(CellSums& sums, const uint8_t* coverage, int64_t stride, int64_t width, const Window& window,
                  int64_t left, int64_t top) {
  for (int64_t y = window.y0; y < window.y1; ++y) {
    for (int64_t x = window.x0; x < window.x1; ++x) sums.add(left + x, top + y, coverage[(y * width + x) * stride]);
  }
}

}  // namespace

Image World::render(const Scene& scene) const {
  Image image = blank(options_.size, colour_table().at(scene.background).rgb);
  for (const Object& object : scene.objects) {
    if (object.kind == ObjectKind::emoji) {
      Sprite made;
      const Sprite& sprite = sprite_for(*assets_, object, made);
      paint(image, sprite, object.centre_x - sprite.width / 2, object.centre_y - sprite.height / 2);
    } else {
      Mask made;
      const Mask& mask = mask_for(*assets_, object, made);
      paint(image, mask, colour_table().at(object.colour), object.centre_x - mask.width / 2,
            object.centre_y - mask.height / 2);
    }
  }
  if (!scene.text.empty()) paint_text(image, *assets_, scene);
  return image;
}

std::vector<int64_t> World::cell_labels(const Scene& scene, int64_t cells) const {
  const int64_t size = options_.size;
  if (cells < 1 || size % cells != 0) {
    fail(ErrorKind::usage, "the number of label cells per side must divide the picture's ", size, " pixels, and is ",
         cells);
  }
  std::vector<int64_t> best(cells * cells), labels(cells * cells);
  for (const Object& object : scene.objects) {
    CellSums sums(size, cells);
    if (object.kind == ObjectKind::emoji) {
      Sprite made;
      const Sprite& sprite = sprite_for(*assets_, object, made);
      const int64_t left = object.centre_x - sprite.width / 2, top = object.centre_y - sprite.height / 2;
      const Window window = clip(left, top, sprite.width, sprite.height, size);
      add_coverage(sums, sprite.rgba.data() + 3, 4, sprite.width, window, left, top);
    } else {
      Mask made;
      const Mask& mask = mask_for(*assets_, object, made);
      const int64_t left = object.centre_x - mask.width / 2, top = object.centre_y - mask.height / 2;
      const Window window = clip(left, top, mask.width, mask.height, size);
      add_coverage(sums, mask.coverage.data(), 1, mask.width, window, left, top);
    }
    sums.claim(class_of(object), best, labels);
  }
  if (!scene.text.empty()) {
    const Writing writing = read_writing(scene.text);
    const GlyphSet& set = glyphs_of(*assets_, writing.script);
    const int64_t width = static_cast<int64_t>(writing.signs.size()) * set.cell, left = scene.text_left;
    const int64_t top = scene.text_centre_y - set.cap_height / 2;
    const Window window = clip(left, top, width, set.cap_height, size);
    CellSums sums(size, cells);
    for (int64_t y = window.y0; y < window.y1; ++y) {
      for (int64_t x = window.x0; x < window.x1; ++x) sums.add(left + x, top + y, 255);
    }
    sums.claim(text_class(), best, labels);
  }
  return labels;
}

}  // namespace glmimage::train::world
