#include "eval/tesseract.h"

#include <omp.h>

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "core/shared_library.h"

namespace glmimage::eval {

// The functions of capi.h that are used, under their names there.
struct Tesseract::Library {
  SharedLibrary library{"libtesseract.so.5", "tesseract-ocr"};
  const char* (*version)() = library["TessVersion"];
  void (*delete_text)(const char*) = library["TessDeleteText"];
  void (*delete_texts)(char**) = library["TessDeleteTextArray"];
  void* (*create)() = library["TessBaseAPICreate"];
  void (*destroy)(void*) = library["TessBaseAPIDelete"];
  int (*init)(void*, const char* data, const char* language, int engine, char** configs, int config_count, char** names,
              char** values, size_t count, int only_non_debug) = library["TessBaseAPIInit4"];
  char** (*languages)(const void*) = library["TessBaseAPIGetAvailableLanguagesAsVector"];
  int (*set)(void*, const char* name, const char* value) = library["TessBaseAPISetVariable"];
  void (*set_mode)(void*, int mode) = library["TessBaseAPISetPageSegMode"];
  void (*set_image)(void*, const unsigned char* pixels, int width, int height, int bytes_a_pixel,
                    int bytes_a_line) = library["TessBaseAPISetImage"];
  char* (*text)(void*) = library["TessBaseAPIGetUTF8Text"];
  void (*clear)(void*) = library["TessBaseAPIClear"];
};

namespace {

constexpr int kDefaultEngine = 3;  // OEM_DEFAULT: the neural network

// Our pictures are so small that tesseract's threads would only wait for each other. They are LibTorch's OpenMP
// threads; inside of a parallel region tesseract gets none anyway.
class NoThreads {
 public:
  NoThreads() : before_(omp_get_max_active_levels()) {
    if (!omp_in_parallel()) omp_set_max_active_levels(0);
  }
  ~NoThreads() {
    if (!omp_in_parallel()) omp_set_max_active_levels(before_);
  }
  NoThreads(const NoThreads&) = delete;
  NoThreads& operator=(const NoThreads&) = delete;

 private:
  int before_;
};

}  // namespace

// One loaded language.
class Tesseract::Engine {
 public:
  Engine(const Library& library, std::string its_language)
      : language(std::move(its_language)), library_(library), handle_(library.create()) {
    std::string names[] = {"load_system_dawg", "load_freq_dawg", "debug_file"}, values[] = {"0", "0", "/dev/null"};
    char *name[3], *value[3];
    for (size_t i = 0; i < 3; ++i) name[i] = names[i].data(), value[i] = values[i].data();
    loaded_ = library.init(handle_, nullptr, language.c_str(), kDefaultEngine, nullptr, 0, name, value, 3, 0) == 0;
  }
  ~Engine() { library_.destroy(handle_); }
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  bool loaded() const { return loaded_; }
  void* handle() const { return handle_; }

  const std::string language;

 private:
  const Library& library_;
  void* handle_;
  bool loaded_ = false;
};

Tesseract::Tesseract(std::unique_ptr<Library> library)
    : library_(std::move(library)), version_(std::string("tesseract ") + library_->version()) {
  for (const char* any : {"eng", "chi_sim"}) {  // names of languages are known to an engine alone
    std::unique_ptr<Engine> engine = take(any);
    if (!engine->loaded()) continue;
    char** names = library_->languages(engine->handle());
    for (char** name = names; name && *name; ++name) languages_.emplace_back(*name);
    if (names) library_->delete_texts(names);
    give_back(std::move(engine));
    return;
  }
}

Tesseract::~Tesseract() { idle_.clear(); }

std::shared_ptr<Tesseract> Tesseract::open() {
  static const std::shared_ptr<Tesseract> shared = []() -> std::shared_ptr<Tesseract> {
    std::unique_ptr<Library> library;
    try {
      library = std::make_unique<Library>();
    } catch (const Error&) {  // not installed, or too old
      return nullptr;
    }
    std::shared_ptr<Tesseract> tesseract(new Tesseract(std::move(library)));
    return tesseract->languages().empty() ? nullptr : tesseract;
  }();
  return shared;
}

std::unique_ptr<Tesseract::Engine> Tesseract::take(const std::string& language) {
  {
    const std::scoped_lock lock(mutex_);
    const auto fits = [&](const std::unique_ptr<Engine>& engine) { return engine->language == language; };
    if (const auto found = std::find_if(idle_.begin(), idle_.end(), fits); found != idle_.end()) {
      std::unique_ptr<Engine> engine = std::move(*found);
      idle_.erase(found);
      return engine;
    }
  }
  return std::make_unique<Engine>(*library_, language);
}

void Tesseract::give_back(std::unique_ptr<Engine> engine) {
  const std::scoped_lock lock(mutex_);
  idle_.push_back(std::move(engine));
}

std::string Tesseract::read(const Question& question) {
  const NoThreads no_threads;
  std::unique_ptr<Engine> engine = take(question.language);
  if (!engine->loaded()) fail(ErrorKind::io, "tesseract cannot load its language '", question.language, "'");
  void* handle = engine->handle();
  library_->set(handle, "tessedit_char_whitelist", question.letters.c_str());
  library_->set_mode(handle, static_cast<int>(question.mode));
  const Image& image = question.image;
  library_->set_image(handle, image.pixels.data(), static_cast<int>(image.width), static_cast<int>(image.height), 3,
                      static_cast<int>(3 * image.width));
  char* text = library_->text(handle);
  if (!text) fail(ErrorKind::io, "tesseract failed on a picture of ", image.width, " x ", image.height, " pixels");
  std::string out = text;
  library_->delete_text(text);
  library_->clear(handle);
  give_back(std::move(engine));
  return out;
}

}  // namespace glmimage::eval
