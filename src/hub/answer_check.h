#pragma once

#include <string>

#include "hub/byte_ranges.h"
#include "hub/http.h"
#include "hub/listing.h"

namespace glmimage::hub {

// Whether an answer with status 200 or 206 is about the file that was listed. Throws ErrorKind::io when the server says
// that it is another by now, or sends it encoded.
void check_identity(const HttpHead& head, const RemoteFile& file, const std::string& commit);

// Whether an answer with status 206 brings the bytes that were asked for. Throws BadAnswer.
void check_content_range(const HttpHead& head, ByteRange asked, int64_t size);

// Whether Content-Length, where it is sent, promises so many bytes. Throws BadAnswer.
void check_length(const HttpHead& head, int64_t expected);

}  // namespace glmimage::hub
