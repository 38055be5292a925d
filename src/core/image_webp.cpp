#include <webp/decode.h>
#include <webp/demux.h>

#include <memory>

#include "core/error.h"
#include "core/exif.h"
#include "core/image_codecs.h"

namespace glmimage {
namespace {

using Demuxer = std::unique_ptr<WebPDemuxer, decltype(&WebPDemuxDelete)>;

const char* what_is_wrong(VP8StatusCode status) {
  switch (status) {
    case VP8_STATUS_OUT_OF_MEMORY: return "there is not enough memory for it";
    case VP8_STATUS_UNSUPPORTED_FEATURE: return "it uses an unknown feature";
    case VP8_STATUS_NOT_ENOUGH_DATA: return "it ends early; an incomplete download?";
    default: return "its data makes no sense";
  }
}

[[noreturn]] void broken(const std::string& name, const char* what) {
  fail(ErrorKind::usage, name, ": this WebP picture is broken: ", what);
}

int webp_orientation(const WebPDemuxer* demuxer) {
  WebPChunkIterator chunk{};
  int orientation = 1;
  if (WebPDemuxGetChunk(demuxer, "EXIF", 1, &chunk))
    orientation = exif_orientation({chunk.chunk.bytes, chunk.chunk.size});
  WebPDemuxReleaseChunkIterator(&chunk);
  return orientation;
}

// Decodes a frame to its place on the canvas.
void draw_frame(const WebPIterator& frame, Image& canvas, const std::string& name) {
  const int64_t right = int64_t{frame.x_offset} + frame.width, bottom = int64_t{frame.y_offset} + frame.height;
  if (frame.x_offset < 0 || frame.y_offset < 0 || right > canvas.width || bottom > canvas.height) {
    broken(name, "its first frame reaches outside the picture");
  }
  WebPDecoderConfig config;
  if (!WebPInitDecoderConfig(&config)) fail(ErrorKind::internal, "libwebp is of another version than its header");
  const int64_t stride = 3 * canvas.width, first = frame.y_offset * stride + 3 * int64_t{frame.x_offset};
  config.output.colorspace = MODE_RGB;
  config.output.is_external_memory = 1;
  config.output.u.RGBA.rgba = canvas.pixels.data() + first;
  config.output.u.RGBA.stride = static_cast<int>(stride);
  config.output.u.RGBA.size = canvas.pixels.size() - static_cast<size_t>(first);
  const VP8StatusCode status = WebPDecode(frame.fragment.bytes, frame.fragment.size, &config);
  if (status != VP8_STATUS_OK) broken(name, what_is_wrong(status));
}

}  // namespace

Image decode_webp(std::span<const uint8_t> bytes, const std::string& name) {
  WebPBitstreamFeatures features{};
  const VP8StatusCode status = WebPGetFeatures(bytes.data(), bytes.size(), &features);
  if (status != VP8_STATUS_OK) broken(name, what_is_wrong(status));
  check_image_size(name, features.width, features.height);

  const WebPData data{bytes.data(), bytes.size()};
  WebPDemuxState state = WEBP_DEMUX_PARSE_ERROR;
  const Demuxer demuxer(WebPDemuxPartial(&data, &state), WebPDemuxDelete);
  if (state != WEBP_DEMUX_DONE) {
    const bool cut = state == WEBP_DEMUX_PARSING_HEADER || state == WEBP_DEMUX_PARSED_HEADER;
    broken(name, what_is_wrong(cut ? VP8_STATUS_NOT_ENOUGH_DATA : VP8_STATUS_BITSTREAM_ERROR));
  }

  // Where the first frame of an animation leaves the canvas free it is black, like transparency without its alpha.
  const auto width = int64_t{WebPDemuxGetI(demuxer.get(), WEBP_FF_CANVAS_WIDTH)};
  const auto height = int64_t{WebPDemuxGetI(demuxer.get(), WEBP_FF_CANVAS_HEIGHT)};
  check_image_size(name, width, height);
  Image image{width, height, std::vector<uint8_t>(static_cast<size_t>(3 * width * height))};
  WebPIterator frame{};
  if (!WebPDemuxGetFrame(demuxer.get(), 1, &frame)) broken(name, "it has no frame");
  const std::unique_ptr<WebPIterator, decltype(&WebPDemuxReleaseIterator)> release(&frame, WebPDemuxReleaseIterator);
  draw_frame(frame, image, name);
  return upright(std::move(image), webp_orientation(demuxer.get()));
}

}  // namespace glmimage
