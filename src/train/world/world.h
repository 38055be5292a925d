#pragma once

#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "core/image.h"

// The synthetic picture world the small shipped model is trained on: one to three objects (emoji or coloured shapes) on
// a plain background, and now and then a word, each with a caption that says what is to be seen.
namespace glmimage::train::world {

struct Assets;  // sprites, masks and glyphs (sprites.h)
class Dice;     // dice.h

enum class ObjectKind { emoji, shape };

struct Object {
  ObjectKind kind = ObjectKind::emoji;
  int64_t index = 0;     // into emoji_table() or shape_table()
  int64_t colour = -1;   // into colour_table(); -1 for emoji
  int64_t centre_x = 0;  // pixels
  int64_t centre_y = 0;  // pixels
  int64_t size = 0;      // height in pixels
};

// How the objects lie. One object has a place; of two different ones the first lies so relative to the second; two
// equal ones lie in a row, three in a triangle: two above, one below.
enum class Arrangement {
  text_only,
  centre,
  left,
  right,
  top,
  bottom,
  top_left,
  top_right,
  bottom_left,
  bottom_right,
  left_of,
  right_of,
  above,
  below,
  row,
  triangle,
};

enum class TextPlace { none, top, bottom, centre };

struct Scene {
  int64_t background = 0;  // into colour_table()
  Arrangement arrangement = Arrangement::text_only;
  std::vector<Object> objects;  // none to three
  std::string text;             // UTF-8: 1-8 of A-Z, a-z and 0-9, or 1-2 Chinese characters, or empty
  TextPlace text_place = TextPlace::none;
  int64_t text_colour = 0;    // into colour_table(): black or white, whichever stands out
  int64_t text_size = 0;      // font size in pixels per em
  int64_t text_left = 0;      // pixels, where the first letter's cell begins
  int64_t text_centre_y = 0;  // pixels, middle of the capitals or of the Chinese characters
  std::string caption;
};

// What texts and captions are in. With Chinese, a quarter of the texts and about a seventh of the captions are.
enum class Languages { english, english_and_chinese };

struct WorldOptions {
  int64_t size = 128;  // pixels per side, 32-1024
  Languages languages = Languages::english;
  double words = 0.5;  // share of the sampled scenes with room for a text that have one
  std::string emoji_font = "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf";
  std::string text_font = "/usr/share/fonts/truetype/dejavu/DejaVuSansMono-Bold.ttf";
  // Read only for worlds with Chinese.
  std::string chinese_font = "/usr/share/fonts/opentype/noto/NotoSansCJK-Bold.ttc";
};

// Class ids, for naming accuracy: 0 background only, then the emoji, then shapes (by form, then colour), then text.
int64_t class_count();
int64_t text_class();
int64_t class_of(const Object& object);
// By class id: "background", "red apple", "blue circle", "text".
const std::vector<std::string>& class_names();
// Backgrounds and shapes have the colours of the whole table ("red", …).
int64_t background_count();
// False for what has no plural ("grapes").
bool countable(const Object& object);

// The usual caption of a scene: `a red apple on a green background with the text "HELLO"`.
std::string canonical_caption(const Scene& scene);
// The same in Chinese: `绿色背景上的一个红苹果，写着"HELLO"`.
std::string chinese_caption(const Scene& scene);

// Immutable after open(): every method may be called from many threads at once. Copies share the sprites.
class World {
 public:
  // Reads the fonts and scales every sprite (0.2 s). Errors: usage when a font is missing or lacks a glyph, or the size
  // is out of range.
  static World open(const WorldOptions& options = {});

  // Draws a scene and its caption by lot, for training: never one that is held out. The same generator state gives the
  // same scene with every compiler and library, given the same fonts.
  Scene sample(std::mt19937_64& random) const;

  // The same for evaluation: only scenes that are held out.
  Scene sample_held_out(std::mt19937_64& random) const;

  // Whether the scene shows an object on a background, or two objects in a relation, that training never shows: one in
  // twenty of these combinations, chosen by a hash of their names. However many equal objects there are, and wherever:
  // an object's backgrounds are held out with all its scenes, and "a left of b" with "b right of a".
  static bool held_out(const Scene& scene);

  // The scene with one object (a class id of an emoji or shape) in the middle, and the text below it if not empty;
  // text_class() gives the text alone. The caption is the canonical one. Errors: usage for ids or texts out of range.
  Scene with_object(int64_t class_id, int64_t background, const std::string& text = {}) const;

  // The scene with these objects, as many as the arrangement has, and the text where there is room for it. The caption
  // is the canonical one. Errors: usage for ids or texts out of range, and for objects or a text that do not fit the
  // arrangement: relations are between two different ones, a row and a triangle are of equal, countable ones, and
  // objects that fill the picture leave no room for a text.
  Scene with_objects(const std::vector<int64_t>& class_ids, Arrangement arrangement, int64_t background,
                     const std::string& text = {}) const;

  // Paints (size, size) RGB pixels. Errors: usage when the text has signs the world does not write.
  Image render(const Scene& scene) const;

  // The class that covers most of each of cells x cells grid cells, row by row; 0 where nothing covers 12 % of a cell.
  // Text counts with its whole line box, not with its ink. `cells` must divide the size.
  std::vector<int64_t> cell_labels(const Scene& scene, int64_t cells) const;

  // False where the object would drown in the background (a cloud on white, a red circle on red).
  bool stands_out(const Object& object, int64_t background) const;

  int64_t size() const { return options_.size; }

  Languages languages() const { return options_.languages; }
  double words() const { return options_.words; }

 private:
  void lay_out(Scene& scene) const;
  Scene draw(Dice& dice) const;
  Scene sample_either(std::mt19937_64& random, bool held) const;

  WorldOptions options_;
  std::shared_ptr<const Assets> assets_;
};

}  // namespace glmimage::train::world
