// A file that may be a picture: what its header promises is what decoding gives, or either refuses it with
// ErrorKind::usage.
#include <optional>

#include "core/error.h"
#include "core/image.h"
#include "core/picture_size.h"
#include "fuzz/memory_file.h"

using namespace glmimage;

namespace {

// Larger ones are decoded all right, but each takes a while.
bool large(const PictureSize& size) {
  const bool readable = size.width <= kMaxImageSide && size.height <= kMaxImageSide;
  return readable && size.width * size.height > 1 << 18;
}

template <typename Read>
auto unless_refused(const Read& read) -> std::optional<decltype(read())> {
  try {
    return read();
  } catch (const Error& error) {
    test::require(error.kind() == ErrorKind::usage);
    return std::nullopt;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span<const uint8_t> bytes(data, size);
  const auto promised = unless_refused([&] { return picture_size(bytes, "picture"); });
  if (promised && large(*promised)) return 0;
  const auto picture = unless_refused([&] { return decode_image(bytes, "picture"); });
  if (!picture) return 0;
  if (!promised) return 0;  // a header may be refused that libjpeg makes something of
  test::require(*promised == PictureSize{picture->width, picture->height});
  test::require(picture->pixels.size() == static_cast<size_t>(3 * picture->width * picture->height));
  return 0;
}
