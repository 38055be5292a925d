#pragma once

#include <array>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/image.h"
#include "eval/scenes.h"

namespace glmimage::eval {

// The rows of a picture in which the scene has its word, cut down to what is written there, as a reader likes them:
// black on white, with a margin, four times as large unless the letters are large already. Ink is how far a pixel has
// gone from the background (0..255 RGB) to the colour the letters should have. The picture has the size of the scene's
// world.
Image word_strip(const Image& picture, const world::Scene& scene, const std::array<double, 3>& background);

// Reads words with tesseract, run as a process on a PNG file.
class WordReader {
 public:
  // Nothing when tesseract is not installed.
  static std::optional<WordReader> open();

  const std::string& version() const { return version_; }  // "tesseract 5.3.0"
  // Whether the language data this word needs are installed.
  bool can_read(const std::string& word) const;
  // What stands in the strip, without white space. `expected` tells the letters to look
  // for, no more: capitals and digits, small letters too when it has one, or Chinese characters.
  // Throws ErrorKind::io when tesseract fails, ErrorKind::cancelled.
  std::string read(const Image& strip, const std::string& expected, const std::function<bool()>& cancelled) const;

 private:
  std::string version_;
  std::vector<std::string> languages_;
};

}  // namespace glmimage::eval
