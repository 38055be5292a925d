#include <webp/demux.h>

#include <memory>

#include "core/image_codecs.h"

namespace glmimage {

void read_webp_metadata(std::span<const uint8_t> bytes, FoundMetadata& found) {
  const WebPData data{bytes.data(), bytes.size()};
  WebPDemuxState state = WEBP_DEMUX_PARSE_ERROR;
  const std::unique_ptr<WebPDemuxer, decltype(&WebPDemuxDelete)> demuxer(WebPDemuxPartial(&data, &state),
                                                                         WebPDemuxDelete);
  if (state != WEBP_DEMUX_DONE) found.faults.push_back("the file is broken or ends early; an incomplete download?");
  if (!demuxer) return;
  WebPChunkIterator chunk{};
  if (WebPDemuxGetChunk(demuxer.get(), "EXIF", 1, &chunk)) add_exif({chunk.chunk.bytes, chunk.chunk.size}, found);
  WebPDemuxReleaseChunkIterator(&chunk);
  if (WebPDemuxGetChunk(demuxer.get(), "XMP ", 1, &chunk)) {
    add_xmp(try_xmp({reinterpret_cast<const char*>(chunk.chunk.bytes), chunk.chunk.size}, found), found);
  }
  WebPDemuxReleaseChunkIterator(&chunk);
}

}  // namespace glmimage
