#include <webp/encode.h>
#include <webp/mux.h>

#include <memory>
#include <new>

#include "core/error.h"
#include "core/image_codecs.h"

namespace glmimage {
namespace {

constexpr int kLossless = 100;      // the quality that keeps every pixel
constexpr int kLosslessEffort = 4;  // of 0..9: beyond it takes twice as long and more for a percent or two

struct WebpPicture {
  WebPPicture picture{};
  WebPMemoryWriter writer{};
  WebpPicture() {
    WebPMemoryWriterInit(&writer);
    if (!WebPPictureInit(&picture)) fail(ErrorKind::internal, "libwebp is of another version than its header");
  }
  ~WebpPicture() {
    WebPPictureFree(&picture);
    WebPMemoryWriterClear(&writer);
  }
};

WebPConfig config_of(int quality) {
  WebPConfig config{};
  bool ok = WebPConfigPreset(&config, WEBP_PRESET_DEFAULT, static_cast<float>(quality)) != 0;
  if (quality == kLossless) ok = ok && WebPConfigLosslessPreset(&config, kLosslessEffort) != 0;
  config.use_sharp_yuv = 1;  // WebP always keeps colours at half the size: this keeps coloured letters readable
  if (!ok || !WebPValidateConfig(&config)) fail(ErrorKind::internal, "libwebp refuses the quality ", quality);
  return config;
}

void encode(const Image& image, int quality, WebpPicture& out) {
  const WebPConfig config = config_of(quality);
  WebPPicture& picture = out.picture;
  picture.use_argb = 1;
  picture.width = static_cast<int>(image.width);
  picture.height = static_cast<int>(image.height);
  picture.writer = WebPMemoryWrite;
  picture.custom_ptr = &out.writer;
  if (!WebPPictureImportRGB(&picture, image.pixels.data(), static_cast<int>(3 * image.width))) throw std::bad_alloc();
  if (WebPEncode(&config, &picture)) return;
  if (picture.error_code == VP8_ENC_ERROR_OUT_OF_MEMORY ||
      picture.error_code == VP8_ENC_ERROR_BITSTREAM_OUT_OF_MEMORY) {
    throw std::bad_alloc();
  }
  fail(ErrorKind::internal, "writing a WebP picture: libwebp's error ", static_cast<int>(picture.error_code));
}

}  // namespace

std::vector<uint8_t> encode_webp(const Image& image, int quality, const Sections& sections) {
  WebpPicture picture;
  encode(image, quality, picture);
  const std::unique_ptr<WebPMux, decltype(&WebPMuxDelete)> mux(WebPMuxNew(), WebPMuxDelete);
  const WebPData pixels{picture.writer.mem, picture.writer.size};
  bool ok = mux && WebPMuxSetImage(mux.get(), &pixels, /*copy_data=*/0) == WEBP_MUX_OK;
  const auto add = [&](const char* name, const void* data, size_t size) {
    const WebPData chunk{static_cast<const uint8_t*>(data), size};
    if (size > 0) ok = ok && WebPMuxSetChunk(mux.get(), name, &chunk, /*copy_data=*/0) == WEBP_MUX_OK;
  };
  const std::string xmp = write_xmp(sections.xmp);
  add("ICCP", sections.profile.data(), sections.profile.size());
  add("EXIF", sections.exif.data(), sections.exif.size());
  add("XMP ", xmp.data(), xmp.size());
  WebPData file{};
  if (!ok || WebPMuxAssemble(mux.get(), &file) != WEBP_MUX_OK)
    fail(ErrorKind::internal, "writing a WebP picture failed");
  const std::unique_ptr<WebPData, decltype(&WebPDataClear)> clear(&file, WebPDataClear);
  return {file.bytes, file.bytes + file.size};
}

}  // namespace glmimage
