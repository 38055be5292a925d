#include "eval/word_reader.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/resize.h"
#include "text/utf8.h"
#include "train/world/world_tables.h"

namespace glmimage::eval {
namespace {

constexpr int64_t kReadableSide = 1024;

bool is_latin(const std::string& word) {
  return std::all_of(word.begin(), word.end(), [](char c) { return static_cast<unsigned char>(c) < 128; });
}

// tesseract's name of the language that has this word's letters.
const char* language_of(const std::string& word) { return is_latin(word) ? "eng" : "chi_sim"; }

// The letters to look for; empty: all of the language.
std::string letters_of(const std::string& expected) {
  if (!is_latin(expected)) return {};
  std::string letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
  const auto small = [](char c) { return c >= 'a' && c <= 'z'; };
  if (std::any_of(expected.begin(), expected.end(), small)) letters += "abcdefghijklmnopqrstuvwxyz";
  return letters;
}

Image on_white(const Image& image, int64_t margin) {
  Image out;
  out.width = image.width + 2 * margin;
  out.height = image.height + 2 * margin;
  out.pixels.assign(static_cast<size_t>(out.width * out.height * 3), 255);
  for (int64_t y = 0; y < image.height; ++y) {
    std::copy_n(&image.pixels[static_cast<size_t>(y * image.width * 3)], image.width * 3,
                &out.pixels[static_cast<size_t>(((y + margin) * out.width + margin) * 3)]);
  }
  return out;
}

}  // namespace

std::string without_white_space(const std::string& text) {
  const std::string valid = replace_invalid_utf8(text);
  std::string out;
  for (size_t at = 0; at < valid.size();) {
    const char32_t letter = next_code_point(valid, at);
    if (!is_white_space(letter) && letter != U'\f') append_utf8(out, letter);
  }
  return out;
}

Image word_strip(const Image& picture, const world::Scene& scene, const std::array<double, 3>& background) {
  constexpr int64_t kLarge = 64;  // pixels per em that need no enlarging
  constexpr int kInk = 165;       // greys below this are letters
  const Rows rows = word_rows(scene, picture.height);
  const auto& letters = world::colour_table().at(static_cast<size_t>(scene.text_colour)).rgb;
  std::array<double, 3> way = {};
  double length = 0;
  for (size_t c = 0; c < 3; ++c) way[c] = letters[c] - background[c], length += way[c] * way[c];
  Image grey = crop(picture, 0, rows.first, picture.width, rows.last - rows.first);
  int64_t left = grey.width, right = 0, top = grey.height, bottom = 0;  // of the ink
  for (int64_t i = 0; i < grey.width * grey.height; ++i) {
    uint8_t* pixel = &grey.pixels[static_cast<size_t>(3 * i)];
    double ink = 0;
    for (size_t c = 0; c < 3 && length > 1; ++c) ink += (pixel[c] - background[c]) * way[c] / length;
    const auto value = static_cast<uint8_t>(std::lround(255 * (1 - std::clamp(ink, 0.0, 1.0))));
    std::fill_n(pixel, 3, value);
    if (value >= kInk) continue;
    left = std::min(left, i % grey.width), right = std::max(right, i % grey.width + 1);
    top = std::min(top, i / grey.width), bottom = std::max(bottom, i / grey.width + 1);
  }
  if (left >= right) left = top = 0, right = grey.width, bottom = grey.height;  // nothing written
  const int64_t margin = std::max<int64_t>(8, scene.text_size / 3);
  const Image strip = on_white(crop(grey, left, top, right - left, bottom - top), margin);
  if (scene.text_size > kLarge) return strip;
  return resize(strip, 4 * strip.width, 4 * strip.height, Filter::bicubic);
}

std::optional<WordReader> WordReader::open() {
  std::shared_ptr<Tesseract> tesseract = Tesseract::open();
  if (!tesseract) return {};
  return WordReader(std::move(tesseract));
}

bool WordReader::can_read(const std::string& word) const {
  const auto& languages = tesseract_->languages();
  return std::find(languages.begin(), languages.end(), language_of(word)) != languages.end();
}

std::string WordReader::read(const Image& strip, const std::string& expected,
                             const std::function<bool()>& cancelled) const {
  if (cancelled && cancelled()) fail(ErrorKind::cancelled, "the request was cancelled");
  // One word: as a line, single characters are passed over.
  return without_white_space(tesseract_->read(
      {.image = strip, .language = language_of(expected), .mode = PageMode::word, .letters = letters_of(expected)}));
}

std::string WordReader::read_picture(const Image& picture, const std::string& expected) const {
  // tesseract wants capitals of 20 pixels and more, which small pictures do not have.
  const int64_t times = std::max<int64_t>(1, kReadableSide / std::max(picture.width, picture.height));
  const Image large =
      times == 1 ? picture : resize(picture, times * picture.width, times * picture.height, Filter::bicubic);
  return without_white_space(tesseract_->read(
      {.image = large, .language = language_of(expected), .mode = PageMode::sparse, .letters = letters_of(expected)}));
}

}  // namespace glmimage::eval
