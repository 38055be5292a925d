#pragma once

#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "core/image.h"

// The synthetic picture world the small shipped model is trained on: one or two objects (emoji or coloured shapes) on a
// plain background, and now and then a word in capitals, each with an English caption that says what is to be seen.
namespace glmimage::train::world {

struct Assets;  // sprites, masks and glyphs (sprites.h)

enum class ObjectKind { emoji, shape };

struct Object {
  ObjectKind kind = ObjectKind::emoji;
  int64_t index = 0;     // into emoji_table() or shape_table()
  int64_t colour = -1;   // into colour_table(); -1 for emoji
  int64_t centre_x = 0;  // pixels
  int64_t centre_y = 0;  // pixels
  int64_t size = 0;      // height in pixels
};

// How the objects lie; of two, the first lies so relative to the second.
enum class Arrangement { text_only, centre, left, right, top, bottom, left_of, right_of, above, below };

enum class TextPlace { none, top, bottom, centre };

struct Scene {
  int64_t background = 0;  // into colour_table()
  Arrangement arrangement = Arrangement::text_only;
  std::vector<Object> objects;  // none, one or two
  std::string text;             // 1-6 of A-Z and 0-9, or empty
  TextPlace text_place = TextPlace::none;
  int64_t text_colour = 0;    // into colour_table(): black or white, whichever stands out
  int64_t text_size = 0;      // font size in pixels per em
  int64_t text_centre_y = 0;  // pixels, middle of the capitals
  std::string caption;
};

struct WorldOptions {
  int64_t size = 128;  // pixels per side, 32-1024
  std::string emoji_font = "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf";
  std::string text_font = "/usr/share/fonts/truetype/dejavu/DejaVuSans-Bold.ttf";
};

// Class ids, for naming accuracy: 0 background only, then the emoji, then shapes (by form, then colour), then text.
int64_t class_count();
int64_t text_class();
int64_t class_of(const Object& object);
// By class id: "background", "red apple", "blue circle", "text".
const std::vector<std::string>& class_names();
// Background colours are the whole table ("red", …); shapes use its first shape_colour_count() entries.
int64_t background_count();
int64_t shape_colour_count();

// The usual caption of a scene: `a red apple on a green background with the text "HELLO"`.
std::string canonical_caption(const Scene& scene);

// Immutable after open(): every method may be called from many threads at once. Copies share the sprites.
class World {
 public:
  // Reads both fonts and scales every sprite (0.3 s). Errors: usage when a font is missing or lacks a glyph, or the
  // size is out of range.
  static World open(const WorldOptions& options = {});

  // Draws a scene and its caption by lot. The same generator state gives the same scene with every compiler and
  // library, given the same fonts.
  Scene sample(std::mt19937_64& random) const;

  // The scene with one object (a class id of an emoji or shape) in the middle, and the text below it if not empty;
  // text_class() gives the text alone. The caption is the canonical one. Errors: usage for ids or texts out of range.
  Scene with_object(int64_t class_id, int64_t background, const std::string& text = {}) const;

  // Paints (size, size) RGB pixels. Errors: usage when the text has letters other than A-Z and 0-9.
  Image render(const Scene& scene) const;

  // The class that covers most of each of cells x cells grid cells, row by row; 0 where nothing covers 12 % of a cell.
  // Text counts with its whole line box, not with its ink. `cells` must divide the size.
  std::vector<int64_t> cell_labels(const Scene& scene, int64_t cells) const;

  // False where the object would drown in the background (a cloud on white, a red circle on red).
  bool stands_out(const Object& object, int64_t background) const;

  // Captions for training the BPE: every object on every background, every word, and 12,000 sampled ones.
  std::vector<std::string> caption_corpus() const;

  int64_t size() const { return options_.size; }

 private:
  void lay_out(Scene& scene) const;

  WorldOptions options_;
  std::shared_ptr<const Assets> assets_;
};

}  // namespace glmimage::train::world
