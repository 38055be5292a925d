#include <new>

#include "core/error.h"
#include "core/image_codecs.h"
#include "core/png_io.h"

namespace glmimage {
namespace {

constexpr png_alloc_size_t kMostChunkBytes = 16 << 20;  // unpacked: texts may be compressed
constexpr png_uint_32 kMostTexts = 1000;

void add_texts(const PngReader& reader, FoundMetadata& found) {
  png_textp texts = nullptr;
  const int count = png_get_text(reader.png, reader.info, &texts, nullptr);
  std::string xmp;
  const auto take = [](const png_text& entry, std::string& field) {
    const size_t length = entry.itxt_length > 0 ? entry.itxt_length : entry.text_length;
    if (field.empty() && entry.text != nullptr) field.assign(entry.text, length);
  };
  for (int i = 0; i < count; ++i) {
    const std::string key = texts[i].key;
    if (key == kPngParameters) take(texts[i], found.metadata.parameters);
    if (key == kPngRecipe) take(texts[i], found.metadata.recipe);
    if (key == kPngLabel) take(texts[i], found.metadata.aigc_label);
    if (key == kPngXmp) take(texts[i], xmp);
  }
  if (!xmp.empty()) add_xmp(try_xmp(xmp, found), found);
}

void add_exif_chunk(const PngReader& reader, FoundMetadata& found) {
  png_uint_32 size = 0;
  png_bytep exif = nullptr;
  if (png_get_eXIf_1(reader.png, reader.info, &size, &exif) != 0 && exif != nullptr) add_exif({exif, size}, found);
}

}  // namespace

void read_png_metadata(std::span<const uint8_t> bytes, FoundMetadata& found) {
  PngReader reader;
  reader.rest = whole_chunks(bytes);
  png_structp png = reader.png;
  png_infop info = reader.info;
  if (info == nullptr) throw std::bad_alloc();
  const bool read = guarded(reader.errors, [&] {
    png_set_read_fn(png, &reader, read_png_bytes);
    png_set_user_limits(png, kMaxImageSide, kMaxImageSide);
    png_set_chunk_malloc_max(png, kMostChunkBytes);
    png_set_chunk_cache_max(png, kMostTexts);
    png_read_info(png, info);
    // libpng has no way around the pixels to what is behind them: a row at a time, and none kept.
    const int passes = png_set_interlace_handling(png);
    png_read_update_info(png, info);
    const png_uint_32 rows = png_get_image_height(png, info);
    for (int pass = 0; pass < passes; ++pass) {
      for (png_uint_32 y = 0; y < rows; ++y) png_read_row(png, nullptr, nullptr);
    }
    png_read_end(png, info);
  });
  add_texts(reader, found);
  add_exif_chunk(reader, found);
  if (!read) found.faults.push_back(concat("the file is broken: ", reader.errors.message));
  if (reader.errors.warning[0] != '\0') found.faults.push_back(concat("libpng says: ", reader.errors.warning));
}

}  // namespace glmimage
