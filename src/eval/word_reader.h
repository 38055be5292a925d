#pragma once

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "core/image.h"
#include "eval/scenes.h"
#include "eval/tesseract.h"

namespace glmimage::eval {

// The rows of a picture in which the scene has its word, cut down to what is written there, as a reader likes them:
// black on white, with a margin, four times as large unless the letters are large already. Ink is how far a pixel has
// gone from the background (0..255 RGB) to the colour the letters should have. The picture has the size of the scene's
// world.
Image word_strip(const Image& picture, const world::Scene& scene, const std::array<double, 3>& background);

std::string without_white_space(const std::string& text);

// Reads words with tesseract. Copies share its engines; many threads may read at once.
class WordReader {
 public:
  // Nothing when tesseract is not installed.
  static std::optional<WordReader> open();

  const std::string& version() const { return tesseract_->version(); }  // "tesseract 5.3.0"
  // Whether the language data this word needs are installed.
  bool can_read(const std::string& word) const;
  // What stands in the strip, without white space. `expected` tells the letters to look
  // for, no more: capitals and digits, small letters too when it has one, or Chinese characters.
  // Throws ErrorKind::io when tesseract fails, ErrorKind::cancelled.
  std::string read(const Image& strip, const std::string& expected, const std::function<bool()>& cancelled = {}) const;
  // The same of a whole picture, wherever something is written in it.
  std::string read_picture(const Image& picture, const std::string& expected) const;

 private:
  explicit WordReader(std::shared_ptr<Tesseract> tesseract) : tesseract_(std::move(tesseract)) {}
  std::shared_ptr<Tesseract> tesseract_;
};

}  // namespace glmimage::eval
