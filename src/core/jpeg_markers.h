#pragma once

#include <cstddef>
#include <string_view>

namespace glmimage {

// How the segments APP1 of a JPEG file begin, and how long they may be. Source: XMP specification, part 3, 1.1.3.
inline constexpr std::string_view kExifSegment("Exif\0\0", 6);
inline constexpr std::string_view kXmpSegment("http://ns.adobe.com/xap/1.0/\0", 29);
inline constexpr std::string_view kXmpExtensionSegment("http://ns.adobe.com/xmp/extension/\0", 35);
inline constexpr size_t kMostSegmentBytes = 65'533;
inline constexpr size_t kXmpExtensionIdBytes = 32;
inline constexpr size_t kXmpExtensionHead = 35 + kXmpExtensionIdBytes + 8;  // then length and offset, four bytes each
inline constexpr size_t kMostXmpPiece = 65'400;

}  // namespace glmimage
