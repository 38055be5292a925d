#pragma once

#include <string>
#include <string_view>

namespace glmimage {

// What an XMP packet says, of what is of interest here; UTF-8, empty: nothing. Source: XMP specification parts 1 and 3.
struct XmpFields {
  std::string creator_tool = {};         // xmp:CreatorTool
  std::string digital_source_type = {};  // Iptc4xmpExt:DigitalSourceType
  std::string aigc_label = {};           // TC260:AIGC
  std::string recipe = {};               // glmimage:Recipe
  std::string extension = {};            // xmpNote:HasExtendedXMP: the id of further packets in a JPEG file
  bool operator==(const XmpFields&) const = default;
};

// The packet, or nothing when there is nothing to say. Characters that XML cannot hold become U+FFFD.
std::string write_xmp(const XmpFields& fields);

// Properties may be elements or attributes, of any prefix. Throws ErrorKind::usage when the packet is no XML or holds
// no RDF; the message names neither file nor packet.
XmpFields read_xmp(std::string_view packet);

}  // namespace glmimage
