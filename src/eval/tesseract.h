#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "core/image.h"

namespace glmimage::eval {

// How tesseract takes a picture apart, by its own numbers.
enum class PageMode { word = 8, sparse = 11 };  // one word; as much text as there is, in no order

// tesseract's library (libtesseract.so.5), opened when it is first asked for: a program that reads nothing pays
// nothing, and building needs none of it. Its C interface (capi.h), which has been the same since version 4. Engines
// are kept and used again; many threads may read at once, each with an engine of its own.
class Tesseract {
 public:
  // The library of this process; null when it is not installed or finds no language data.
  static std::shared_ptr<Tesseract> open();
  ~Tesseract();
  Tesseract(const Tesseract&) = delete;
  Tesseract& operator=(const Tesseract&) = delete;

  const std::string& version() const { return version_; }  // "tesseract 5.3.0"
  const std::vector<std::string>& languages() const { return languages_; }

  struct Question {
    const Image& image;
    std::string language;  // "eng"
    PageMode mode = PageMode::word;
    std::string letters;  // only these; empty: all
  };
  // UTF-8, with white space as tesseract puts it. Its dictionaries are off, and so are its threads. Throws
  // ErrorKind::io when the language cannot be loaded or tesseract fails.
  std::string read(const Question& question);

 private:
  struct Library;
  class Engine;
  explicit Tesseract(std::unique_ptr<Library> library);
  std::unique_ptr<Engine> take(const std::string& language);
  void give_back(std::unique_ptr<Engine> engine);

  std::unique_ptr<Library> library_;
  std::string version_;
  std::vector<std::string> languages_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Engine>> idle_;
};

}  // namespace glmimage::eval
